"""Loading a bundle: devices, options, damaged files."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

from awares_edge.bundle import Bundle
from awares_edge.errors import BundleError, InputError, RuntimeUnavailable
from awares_edge.runtimes.base import TextSegment
from awares_edge.runtimes.onnx import OnnxRuntime, devices, usable_devices
from awares_edge.runtimes.onnx.devices import Device
from tests.support.pairs import make_pair


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("loading"), "untied").bundle


def test_what_a_loaded_runtime_says_of_itself(bundle):
    runtime = OnnxRuntime.load(bundle, threads=1, context=100)
    assert (runtime.name, runtime.precision, runtime.device) == ("onnx", "fp32", "cpu")
    assert (runtime.vocabulary, runtime.context) == (384, 100)


def test_threads_make_no_difference_to_answers(bundle):
    rows = []
    for threads in (1, 2):
        with OnnxRuntime.load(bundle, threads=threads) as runtime:
            rows.append(runtime.open_session().prefill([TextSegment((1, 2, 3))]))
    assert np.abs(rows[0] - rows[1]).max() <= 2e-5 * rows[0].std()


@pytest.mark.parametrize(
    "options",
    [{"context": 0}, {"context": 1 << 30}, {"threads": 0}, {"threads": -4}, {"threads": 9999}],
)
def test_numbers_out_of_range_are_refused(bundle, options):
    with pytest.raises(InputError):
        OnnxRuntime.load(bundle, **options)


@pytest.mark.parametrize("device", ["", "npu", "cuda:", "cuda:x", "cuda:-1", "CPU"])
def test_devices_that_are_none(bundle, device):
    with pytest.raises(InputError, match="choose cpu, cuda"):
        OnnxRuntime.load(bundle, device=device)


def test_a_device_that_is_not_here_names_the_extra(bundle, monkeypatch):
    monkeypatch.setattr(devices, "usable_devices", lambda: ["cpu"])
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'awares-edge\[onnx-gpu\]'"):
        OnnxRuntime.load(bundle, device="cuda:1")


def test_the_cpu_is_always_usable():
    assert "cpu" in usable_devices()


def test_providers_fall_back_from_the_best_to_the_cpu(monkeypatch):
    monkeypatch.setattr(devices, "usable_devices", lambda: ["cpu", "cuda", "tensorrt"])
    at = {"device_id": "1"}
    assert Device.parse("cpu").providers() == ["CPUExecutionProvider"]
    assert Device.parse("tensorrt:1").providers() == [
        ("TensorrtExecutionProvider", at),
        ("CUDAExecutionProvider", at),
        "CPUExecutionProvider",
    ]
    assert str(Device.parse("cuda:1")) == "cuda:1"
    assert Device.parse("tensorrt").memory == "cuda"


@pytest.fixture
def damaged(bundle, tmp_path):
    """A copy of the bundle, opened before a test damages it (hashes would tell otherwise)."""
    import shutil

    return Bundle.open(shutil.copytree(bundle.root, tmp_path / "bundle"))


@pytest.mark.parametrize("name", ["text.onnx", "vision.onnx"])
def test_a_broken_graph_is_one_clear_line(damaged, name):
    damaged.path(name).write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=f"onnxruntime cannot load .*{name}") as caught:
        OnnxRuntime.load(damaged)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_one_clear_line(damaged):
    damaged.path("text.data").unlink()
    with pytest.raises(BundleError, match=r"cannot load .*text\.onnx") as caught:
        OnnxRuntime.load(damaged)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("array", [np.zeros((3, 64), np.float32), np.zeros((384, 64), np.int32)])
def test_an_embedding_that_does_not_fit(damaged, array):
    np.save(damaged.path("embedding.npy"), array)
    with pytest.raises(BundleError, match="does not fit the manifest"):
        OnnxRuntime.load(damaged)


def test_a_pickled_embedding_is_never_loaded(damaged):
    np.save(damaged.path("embedding.npy"), np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="is not an array"):
        OnnxRuntime.load(damaged)


def test_the_device_path_imports_neither_torch_nor_onnx():
    code = (
        "import sys, awares_edge.runtimes.onnx\n"
        "heavy = {'torch', 'transformers', 'onnx', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
