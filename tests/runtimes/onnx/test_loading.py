"""Loading a bundle: devices, options, damaged files."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

from awares_edge.bundle import Bundle
from awares_edge.errors import BundleError, InputError, RuntimeUnavailable
from awares_edge.runtimes.base import TextSegment
from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.onnx import OnnxRuntime, devices, usable_devices
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


@pytest.mark.parametrize(
    "device", ["", "npu", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "CPU", "metal"]
)
def test_devices_that_are_none(bundle, device):
    with pytest.raises(InputError, match="choose cuda, cuda:N, cpu"):
        OnnxRuntime.load(bundle, device=device)


def test_a_device_that_is_not_here_names_the_extra(bundle, monkeypatch):
    monkeypatch.setattr(devices, "usable", lambda device: device.on_cpu)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'awares-edge\[onnx-gpu\]'"):
        OnnxRuntime.load(bundle, device="cuda:1")


def test_the_cpu_is_always_usable():
    assert "cpu" in usable_devices()


@pytest.mark.parametrize(
    ("starts", "chosen"),
    [(["cuda", "tensorrt"], "cuda:0"), (["tensorrt"], "cpu"), ([], "cpu")],
)
def test_without_a_name_cuda_is_taken_where_it_starts(monkeypatch, starts, chosen):
    monkeypatch.setattr(devices, "usable", lambda device: device.kind in ["cpu", *starts])
    assert str(devices.choose(None)) == chosen


@pytest.fixture
def pretend(monkeypatch):
    """onnxruntime-gpu on a machine where `started` are the providers that a session gets."""

    def install(started):
        devices.usable.cache_clear()
        offered = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(devices.ort, "get_available_providers", lambda: offered)

        class Session:
            def __init__(self, graph, options, providers, enable_fallback):
                real(graph, options, providers=["CPUExecutionProvider"])
                assert enable_fallback == 0

            def get_providers(self):
                return started

        real = devices.ort.InferenceSession
        monkeypatch.setattr(devices.ort, "InferenceSession", Session)

    yield install
    devices.usable.cache_clear()


def test_a_gpu_build_without_a_gpu_is_not_taken_for_one(pretend):
    pretend(["CPUExecutionProvider"])
    assert usable_devices() == ["cpu"]
    with pytest.raises(RuntimeUnavailable, match="onnxruntime-gpu and a GPU"):
        devices.choose("cuda")


def test_a_gpu_whose_provider_starts_comes_first(pretend):
    pretend(["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert usable_devices() == ["cuda", "cpu"]


class TestBundlesWithoutGraphsForGpus:
    """fp32 and int8: onnxruntime has no CUDA kernels for them."""

    @pytest.fixture(autouse=True)
    def cuda(self, monkeypatch):
        monkeypatch.setattr(devices, "usable", lambda device: device.kind in ("cpu", "cuda"))

    def test_without_a_name_the_cpu_is_taken(self, bundle):
        assert OnnxRuntime.load(bundle, threads=1).device == "cpu"

    def test_a_gpu_is_refused(self, bundle):
        with pytest.raises(RuntimeUnavailable, match="precision fp32 computes only on the CPU"):
            OnnxRuntime.load(bundle, device="cuda")


def test_what_a_provider_cannot_compute_goes_to_the_next():
    at = {"device_id": "1"}
    assert devices.providers(Device("cpu")) == ["CPUExecutionProvider"]
    assert devices.providers(Device("tensorrt", 1)) == [
        ("TensorrtExecutionProvider", at),
        ("CUDAExecutionProvider", at),
        "CPUExecutionProvider",
    ]
    assert devices.memory(Device("tensorrt")) == "cuda"


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
