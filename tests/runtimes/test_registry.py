"""What every runtime's module offers, and options that all of them read alike."""

import inspect
import os
import subprocess
import sys

import pytest

import awares_edge
from awares_edge.errors import InputError, RuntimeUnavailable
from awares_edge.runtimes import threads
from awares_edge.runtimes.devices import Device, choose_device
from awares_edge.runtimes.options import choose_context
from awares_edge.runtimes.registry import RUNTIMES, get_runtime

KINDS = ("cuda", "metal", "cpu")


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_is_a_module_with_two_functions(name):
    entry = get_runtime(name)
    if entry.missing and name != "tensorrt":  # which imports its libraries when it loads a bundle
        pytest.skip(f"{name} is not installed")
    assert list(inspect.signature(entry.backend.load).parameters)[1:] == ["options"]
    assert all(isinstance(device, str) for device in entry.backend.usable_devices())


def test_the_null_runtime_loads_nothing():
    with pytest.raises(InputError, match=r"use awares_edge\.scripted"):
        awares_edge.load(runtime="null")


def test_a_runtime_that_does_not_exist():
    with pytest.raises(InputError, match="no runtime 'tflite': choose one of onnx, torch"):
        get_runtime("tflite")


class TestDevices:
    @pytest.mark.parametrize(
        ("text", "device"),
        [
            ("cpu", Device("cpu")),
            ("cuda", Device("cuda", 0)),
            ("cuda:12", Device("cuda", 12)),
            ("metal", Device("metal")),
        ],
    )
    def test_names(self, text, device):
        assert Device.parse(text, KINDS) == device
        assert Device.parse(str(device), KINDS) == device

    @pytest.mark.parametrize(
        "text",
        ["", "npu", "CUDA", "cuda:", "cuda:-1", "cuda:07", "cuda:99999", "cuda:\u0663", "cuda:1 ",
         "cpu:0", "metal:1", "vulkan"],
    )  # fmt: skip
    def test_other_names_are_refused_with_the_same_words(self, text):
        with pytest.raises(InputError) as caught:
            Device.parse(text, KINDS)
        assert str(caught.value) == f"no device {text!r}: choose cuda, cuda:N, metal, cpu"

    def test_the_first_usable_kind_is_taken_where_none_is_named(self):
        def choose(*usable):
            return str(choose_device(None, KINDS, lambda d: d.kind in usable, missing="buy one"))

        assert choose("cuda", "cpu") == "cuda:0"
        assert choose("cpu", "metal") == "metal"
        with pytest.raises(RuntimeUnavailable, match="buy one"):
            choose()

    def test_a_device_that_is_named_is_never_replaced(self):
        with pytest.raises(RuntimeUnavailable, match="cuda:1 is not usable here: buy one"):
            choose_device("cuda:1", KINDS, lambda d: d.on_cpu, missing="buy one")


class TestContext:
    def test_the_default_is_the_most_or_less(self):
        assert choose_context(None, 4096) == 4096
        assert choose_context(None, 4096, 8192) == 4096
        assert choose_context(None, 4096, 1024) == 1024
        assert choose_context(64, 4096, 1024) == 64

    @pytest.mark.parametrize("wanted", [0, -1, 4097])
    def test_out_of_range(self, wanted):
        with pytest.raises(InputError, match=f"{wanted} is out of range: .* between 1 and 4096"):
            choose_context(wanted, 4096)


# What onnxruntime is told, and the number that torch is left with.
ONNX_THREADS = """
import onnxruntime as ort
import awares_edge

def spy(path, options, **rest):
    print(options.intra_op_num_threads)
    return real(path, options, **rest)

real, ort.InferenceSession = ort.InferenceSession, spy
awares_edge.load(device="cpu").close()
"""
TORCH_THREADS = """
import torch
from awares_edge.runtimes import torch_reference

torch.set_num_threads(7)
torch_reference._set_threads(None)
print(torch.get_num_threads())
"""


class TestThreads:
    def test_one_for_each_core_of_the_affinity_mask(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
        assert threads.choose_threads(None) == 3
        assert threads.choose_threads(12) == 12
        with pytest.raises(InputError, match="between 1 and 12"):
            threads.choose_threads(13)

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity mask here")
    @pytest.mark.parametrize("code", [ONNX_THREADS, TORCH_THREADS], ids=["onnx", "torch"])
    def test_a_process_held_to_one_core_uses_one_thread(self, code):
        if "torch" in code:
            pytest.importorskip("torch")
            pytest.importorskip("transformers")
        held = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + code
        done = subprocess.run(
            [sys.executable, "-c", held], capture_output=True, text=True, check=True
        )
        assert set(done.stdout.split()) == {"1"}
