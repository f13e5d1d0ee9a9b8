"""Buffers, caches and profiles, over a stand-in for TensorRT and the CUDA runtime.

The stand-in checks every address and shape and runs the graphs in onnxruntime. That a session
computes the right thing through it is tested by the conformance suite. TensorRT is not executed.
"""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from awares_edge.errors import BundleError, InputError, RuntimeUnavailable, SessionError
from awares_edge.runtimes.base import TextSegment
from awares_edge.runtimes.registry import RuntimeOptions, get_runtime
from awares_edge.runtimes.tensorrt.device import Buffers, Cuda
from awares_edge.runtimes.tensorrt.engine import LoadedEngine
from awares_edge.runtimes.tensorrt.plan import Range
from awares_edge.runtimes.tensorrt.runtime import load_runtime
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches
from tests.support.tensorrt_cpu import Rig, write_bundle
from tests.support.tensorrt_fake import FakeCudart, fake_tensorrt

TEXT = TextSegment((5, 6, 7, 8, 9))


@pytest.fixture
def make(tmp_path, source):
    """Makes a rig whose plan has some fields changed."""

    def make(**changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return Rig(write_bundle(folder / "bundle", source, "fp32", **changes), folder / "engines")

    return make


@pytest.fixture
def rig(make):
    return make()


def picture(rows, columns, seed=0):
    """Noise on a grid of patches."""
    pixels = np.random.default_rng(seed).normal(size=(rows * columns, 1176))
    return Patches(pixels.astype(np.float32), Grid(rows, columns))


class TestDevice:
    def test_memory_is_zeroed(self):
        cudart = FakeCudart()
        address = Cuda(cudart=cudart).allocate(300)
        assert not cudart.live[address].any()

    def test_buffers_grow_and_are_freed(self):
        cudart = FakeCudart()
        buffers = Buffers(Cuda(cudart=cudart))
        small = buffers.reserve("x", 300)
        assert buffers.reserve("x", 50) == small
        large = buffers.reserve("x", 1000)
        assert {address: block.size for address, block in cudart.live.items()} == {large: 1000}
        buffers.close()
        assert cudart.live == {}

    def test_errors_of_cuda_are_raised(self):
        cudart = FakeCudart()
        cuda = Cuda(cudart=cudart)
        cudart.cudaMalloc = lambda _: (_Status(2, "cudaErrorMemoryAllocation"), None)
        with pytest.raises(MemoryError, match="cudaMalloc: out of device memory"):
            cuda.allocate(1)
        cudart.cudaFree = lambda _: (_Status(1, "cudaErrorInvalidValue"),)
        with pytest.raises(SessionError, match="cudaFree: cudaErrorInvalidValue"):
            cuda.free(1)
        cudart.cudaSetDevice = lambda _: (_Status(100, "cudaErrorNoDevice"),)
        with pytest.raises(RuntimeUnavailable, match=r"no usable NVIDIA GPU 3 .*NoDevice"):
            Cuda(3, cudart)

    def test_one_thread_at_a_time_holds_it(self):
        cuda, order = Cuda(cudart=FakeCudart()), []

        def other():
            with cuda.exclusive():
                order.append("other")

        thread = threading.Thread(target=other)
        with cuda.exclusive():
            thread.start()
            thread.join(0.05)
            order.append("first")
        thread.join()
        assert order == ["first", "other"]

    def test_its_stream_is_destroyed(self):
        destroyed = []
        cudart = FakeCudart()
        cudart.cudaStreamDestroy = destroyed.append
        cuda = Cuda(cudart=cudart)
        del cuda
        assert destroyed == [FakeCudart.STREAM]


class _Status(SimpleNamespace):
    """A CUDA error, as cuda-python returns it."""

    def __init__(self, value, name):
        super().__init__(value=value, name=name)

    def __int__(self):
        return self.value


def test_nothing_is_left_allocated(rig):
    with rig.runtime as runtime, runtime.open_session() as session:
        runtime.encode_image(picture(6, 10))
        session.prefill([TEXT])
        session.decode(3)
        with session.fork() as fork:
            fork.decode(4)
    assert rig.cudart.live == {}


def test_one_token_has_a_profile_of_its_own(rig, make):
    profile_of = rig.runtime._text._profile_of
    assert [profile_of(n) for n in (1, 2, 32)] == [0, 1, 1]
    single = make(decode_profile=False)
    assert [single.runtime._text._profile_of(n) for n in (1, 2, 32)] == [0, 0, 0]
    with single.runtime.open_session() as session:
        session.prefill([TEXT])
        assert np.isfinite(session.decode(3)).all()


def test_a_long_append_goes_in_pieces(make):
    ids = TextSegment(tuple(range(10, 110)))
    rows = []
    for longest in (16, 128):
        rig = make(prefill=Range(1, 8, longest), kept=3)
        with rig.runtime.open_session() as session:
            rows.append(session.prefill([ids], keep_logits=7))
    assert rows[0].shape == (7, rig.runtime.vocabulary)
    assert np.abs(rows[0] - rows[1]).max() <= 2e-5 * rows[1].std()


def test_new_cells_are_written_where_they_belong(rig):
    with rig.runtime.open_session() as session:
        session.prefill([TEXT])
        block = rig.cudart.live[session._cache].view(np.float32)
        # The first layer's keys: 2 heads, 192 cells, 16 numbers.
        keys = block[: 2 * 192 * 16].reshape(2, 192, 16)
        assert np.abs(keys[:, :5]).min(axis=2).max() > 0
        assert not keys[:, 5:].any()
        session.decode(3)
        assert keys[:, 5].any()
        assert not keys[:, 6:].any()


def test_what_the_engine_cannot_do_is_refused(rig):
    runtime = rig.runtime
    with pytest.raises(InputError, match="4000 patches is outside the engine's 4 to 512"):
        runtime.encode_image(picture(40, 100))
    with pytest.raises(InputError, match="context of 500"):
        runtime.open_session(context=500)
    with pytest.raises(InputError, match="4096 is out of range: it must be between 1 and 192"):
        load_runtime(rig.bundle, **rig.parts, context=4096)
    for device in ("cpu", "gpu", "tensorrt"):
        with pytest.raises(InputError, match="choose cuda"):
            load_runtime(rig.bundle, **rig.parts, device=device)
    with pytest.raises(SessionError, match="token ids"), runtime.open_session() as session:
        session.prefill([TextSegment((10_000,))])


def test_a_number_of_threads_is_refused(rig):
    options = RuntimeOptions(device="cuda", threads=2)
    with pytest.raises(InputError, match="does not take a number of CPU threads"):
        get_runtime("tensorrt").backend.load(rig.bundle, options)


def test_a_picture_of_too_many_windows_is_refused(make):
    rig = make(windows=31)
    with pytest.raises(InputError, match=r"1 x 128 tokens has more attention windows than .* 31"):
        rig.runtime.encode_image(picture(2, 256))


def test_features_do_not_depend_on_what_was_encoded_before(rig):
    first = rig.runtime.encode_image(picture(6, 10, seed=1)).features
    rig.runtime.encode_image(picture(16, 16, seed=2))
    again = rig.runtime.encode_image(picture(6, 10, seed=1)).features
    np.testing.assert_array_equal(first, again)


def test_an_engine_that_cannot_be_read_says_what_to_do(rig):
    cuda, trt = rig.parts["cuda"], fake_tensorrt(rig.cudart)
    with pytest.raises(BundleError, match=r"refuses the text engine \(Version tag.*build-engine"):
        LoadedEngine(trt, b"not an engine", cuda, name="text", profiles=1)
    blob = next(rig.parts["engines"].glob("*/text.engine")).read_bytes()
    with pytest.raises(BundleError, match="not have the 3 profiles"):
        LoadedEngine(trt, blob, cuda, name="text", profiles=3)
