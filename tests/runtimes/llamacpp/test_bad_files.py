"""Files and options that cannot be used: one clear line each, and the process lives on."""

import json
import shutil
import struct

import numpy as np
import pytest

import awares_edge
from awares_edge.bundle import Bundle
from awares_edge.bundle.store import hash_file
from awares_edge.errors import BundleError, ImageError, InputError, RuntimeUnavailable
from awares_edge.runtimes.llamacpp import LlamaRuntime, devices, memory
from awares_edge.runtimes.llamacpp.header import read_header
from awares_edge.runtimes.llamacpp.library import library
from tests.support.gguf import make_bundle


@pytest.fixture
def bundle(bundle_root, tmp_path):
    """A copy to damage."""
    return shutil.copytree(bundle_root, tmp_path / "bundle")


def files(bundle):
    text = next(path for path in bundle.glob("*.gguf") if not path.name.startswith("mmproj"))
    return text, next(bundle.glob("mmproj*.gguf"))


def load(bundle):
    """Load with a manifest that agrees with whatever lies there: only the runtime's own checks."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        entry = hash_file(bundle / name)
        manifest["files"][name] = {"bytes": entry.bytes, "sha256": entry.sha256}
    path.write_text(json.dumps(manifest))
    return LlamaRuntime.load(Bundle.open(bundle), threads=1, context=64)


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("keep", [0, 3, 4, 11, 200, 5000, 0.5, 0.99])
def test_truncated(bundle, which, keep):
    path = files(bundle)[which]
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(BundleError) as caught:
        load(bundle)
    assert path.name in one_line(caught)


@pytest.mark.parametrize("which", [0, 1])
def test_not_gguf(bundle, which):
    path = files(bundle)[which]
    path.write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(BundleError, match="not a GGUF file"):
        load(bundle)


@pytest.mark.parametrize(
    ("offset", "value"), [(4, 99), (8, 1 << 60), (16, 1 << 60), (16, 0), (24, 1 << 50)]
)
def test_a_damaged_header(bundle, offset, value):
    path = files(bundle)[0]
    data = bytearray(path.read_bytes())
    code = "<I" if offset == 4 else "<Q"
    struct.pack_into(code, data, offset, value)
    path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        load(bundle)
    one_line(caught)


def test_files_swapped(bundle):
    text, vision = files(bundle)
    data = text.read_bytes()
    text.write_bytes(vision.read_bytes())
    vision.write_bytes(data)
    with pytest.raises(BundleError, match="file of another model"):
        load(bundle)


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_of_another_model(bundle, tmp_path, which):
    other = files(make_bundle(tmp_path, "wide"))
    shutil.copyfile(other[which], files(bundle)[which])
    with pytest.raises(BundleError, match="file of another model") as caught:
        load(bundle)
    assert files(bundle)[which].name in one_line(caught)


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_is_not_there(bundle, which):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"][files(bundle)[which].name]
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="0 GGUF files"):
        LlamaRuntime.load(Bundle.open(bundle))


def test_the_header_of_a_real_file_reads_back(bundle_root):
    text, vision = map(read_header, files(bundle_root))
    assert text.keys["general.architecture"] == "qwen2vl"
    assert text.keys["qwen2vl.rope.dimension_sections"] == [4, 6, 6, 0]
    assert vision.keys["clip.projector_type"] == "qwen2.5vl_merger"
    assert text.shapes["token_embd.weight"] == (512, 96)


def test_a_context_that_does_not_fit(bundle_root, monkeypatch):
    bundle = Bundle.open(bundle_root)
    with pytest.raises(InputError, match="must be between 1 and 4096"):
        LlamaRuntime.load(bundle, context=5000)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(RuntimeUnavailable, match="smaller context"):
        LlamaRuntime.load(bundle)


def test_a_picture_that_does_not_fit(bundle_root, monkeypatch):
    model = awares_edge.load(bundle_root, threads=1, context=1024)
    image = np.zeros((400, 400, 3), np.uint8)
    options = awares_edge.AskOptions(mode="full", max_new_tokens=2)
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    with pytest.raises(ImageError, match=r"196 visual tokens needs 0\.0 GB.*smaller picture"):
        model.ask(image, "What?", options)
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**8)
    model.ask(image, "What?", options)
    # What the tower holds already can be used again.
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    model.ask(image, "What?", options)
    model.close()


def test_devices(bundle_root):
    bundle = Bundle.open(bundle_root)
    for device in ("gpu", "cuda:x", "cuda:-1", "tensorrt", ""):
        with pytest.raises(InputError, match="choose cuda, cuda:N, metal"):
            LlamaRuntime.load(bundle, device=device)
    with pytest.raises(RuntimeUnavailable, match=r"this build of llama\.cpp can use .*cpu"):
        LlamaRuntime.load(bundle, device="cuda:99")


class TestGpus:
    """A build with GPUs; ggml's names are its own."""

    @pytest.fixture
    def lib(self, monkeypatch):
        lib = library()
        names = {"Vulkan0": 5, "CUDA1": 7, "CUDA0": 6, "Strange0": 8}
        monkeypatch.setattr(lib, "gpus", lambda: names)
        return lib

    def test_best_first(self, lib):
        assert devices.usable_devices() == ["cuda:0", "cuda:1", "vulkan:0", "cpu"]

    def test_without_a_name_the_first_gpu_takes_all_layers(self, lib):
        placement = devices.place(lib, None, None)
        assert (str(placement.device), placement.handle) == ("cuda:0", 6)
        assert placement.layers >= 1000
        assert list(placement.handles()) == [6, None]

    def test_the_index_chooses_the_gpu(self, lib):
        assert devices.place(lib, "cuda:1", None).handle == 7
        with pytest.raises(RuntimeUnavailable, match="can use cuda:0, cuda:1, vulkan:0, cpu"):
            devices.place(lib, "cuda:2", None)

    def test_the_cpu_alone(self, lib):
        placement = devices.place(lib, "cpu", 20)
        assert (placement.layers, placement.gpu, list(placement.handles())) == (0, False, [None])

    def test_some_of_the_layers(self, lib, monkeypatch):
        assert devices.place(lib, "cuda", 20).layers == 20
        monkeypatch.setenv(devices.LAYERS_VARIABLE, "12")
        assert devices.place(lib, "cuda", None).layers == 12
        assert devices.place(lib, "cuda", 20).layers == 20
        monkeypatch.setenv(devices.LAYERS_VARIABLE, "many")
        with pytest.raises(InputError, match="must be a number of layers, not 'many'"):
            devices.place(lib, "cuda", None)
        with pytest.raises(InputError, match="0 or more, not -1"):
            devices.place(lib, "cuda", -1)


def test_another_runtime_is_not_tried(bundle_root):
    with pytest.raises(BundleError, match="bundle for llamacpp, not for onnx"):
        awares_edge.load(bundle_root, runtime="onnx")


def test_meminfo(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 9 kB\nMemAvailable:   12 kB\n")
    assert memory.available_bytes(path) == 12 * 1024
    assert memory.available_bytes(tmp_path / "none") is None
    path.write_text("MemAvailable: what\n")
    assert memory.available_bytes(path) is None
