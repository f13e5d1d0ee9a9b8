"""Buffers, caches, profiles and CUDA graphs, over a stand-in for TensorRT and CUDA.

The stand-in checks every address and shape and runs the graphs in onnxruntime; that a session
computes the right thing through it is the conformance suite's part. Not executed here: TensorRT.
"""

import numpy as np
import pytest

from awares_edge.errors import BundleError, InputError, SessionError
from awares_edge.runtimes.base import ImageSegment, TextSegment
from awares_edge.runtimes.tensorrt.buffers import Buffers
from awares_edge.runtimes.tensorrt.engine import Engine
from awares_edge.runtimes.tensorrt.loading import device_index, load_runtime
from awares_edge.runtimes.tensorrt.plan import Range
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches
from tests.support.tensorrt_cpu import write_bundle
from tests.support.tensorrt_fake import FakeCuda, build_engines, fake_tensorrt

TEXT = TextSegment((5, 6, 7, 8, 9))


class Rig:
    """A runtime on the stand-in, with its parts in reach."""

    def __init__(self, folder, source, form="trt-kv", *, can_capture=True, **changes):
        self.bundle = write_bundle(folder / "bundle", source, form, "fp32", **changes)
        self.cuda = FakeCuda(can_capture=can_capture)
        self.trt = fake_tensorrt(self.cuda, "10.15.1" if form == "trt-kv" else "10.3.0")
        self.engines = folder / "engines"
        build_engines(self.bundle, engines=self.engines, trt=self.trt, cuda=self.cuda)
        self.runtime = load_runtime(self.bundle, engines=self.engines, trt=self.trt, cuda=self.cuda)

    @property
    def text(self):
        return self.runtime._text


@pytest.fixture(params=["trt-kv", "trt-legacy"])
def rig(request, tmp_path, source):
    return Rig(tmp_path, source, request.param)


def test_nothing_is_left_allocated(rig):
    with rig.runtime as runtime, runtime.open_session() as session:
        session.prefill([TEXT])
        session.decode(3)
        with session.fork() as fork:
            fork.decode(4)
    assert rig.cuda.live == {}


def test_decoding_is_recorded_once_a_cache_and_then_replayed(rig):
    with rig.runtime.open_session() as session:
        session.prefill([TEXT])
        for token in range(3, 8):
            session.decode(token)
        # The first one warms up.
        assert (rig.cuda.captures, rig.cuda.launches) == (1, 4)
        with session.fork() as fork:
            fork.decode(9)
        # Another cache has other addresses.
        assert (rig.cuda.captures, rig.cuda.launches) == (2, 5)


def test_a_replayed_token_is_as_good_as_a_computed_one(tmp_path, source):
    rows = []
    for name, can_capture in (("with", True), ("without", False)):
        rig = Rig(tmp_path / name, source, can_capture=can_capture)
        with rig.runtime.open_session() as session:
            session.prefill([TEXT])
            rows.append([session.decode(token) for token in (9, 4, 11, 30)])
        assert rig.text.graphs is can_capture
        assert (rig.text.graph_error == "") is can_capture
    np.testing.assert_array_equal(*rows)


def test_a_recording_with_old_addresses_is_thrown_away(rig):
    with rig.runtime.open_session() as session:
        session.prefill([TEXT])
        session.decode(3)
        session.decode(4)
        recorded = session._cache.graph
        before = session.mark()
        # A longer call than any before moves the input buffers.
        session.prefill([TextSegment(tuple(range(20, 50)))])
        session.rewind(before)
        row = session.decode(5)
        session.decode(6)
        assert session._cache.graph is not recorded
        with rig.runtime.open_session() as other:
            expected = other.prefill([TextSegment((*TEXT.ids, 3, 4, 5))])[0]
        assert np.abs(row - expected).max() <= 2e-5 * expected.std()


def test_one_token_has_a_profile_of_its_own(rig, tmp_path, source):
    assert [rig.text.profile_of(n) for n in (1, 2, 32)] == [0, 1, 1]
    single = Rig(tmp_path / "single", source, decode_profile=False)
    assert [single.text.profile_of(n) for n in (1, 2, 32)] == [0, 0, 0]
    with single.runtime.open_session() as session:
        session.prefill([TEXT])
        session.decode(3)
        session.decode(4)
        assert single.cuda.launches == 1


def test_a_long_append_goes_in_pieces(tmp_path, source):
    ids = TextSegment(tuple(range(10, 110)))
    rows = []
    for name, longest in (("short", 16), ("long", 128)):
        rig = Rig(tmp_path / name, source, prefill=Range(1, 8, longest), kept=3)
        with rig.runtime.open_session() as session:
            rows.append(session.prefill([ids], keep_logits=7))
    assert rows[0].shape == (7, rig.runtime.vocabulary)
    assert np.abs(rows[0] - rows[1]).max() <= 2e-5 * rows[1].std()


def test_the_legacy_form_writes_new_cells_where_they_belong(tmp_path, source):
    rig = Rig(tmp_path, source, "trt-legacy")
    with rig.runtime.open_session() as session:
        session.prefill([TEXT])
        cache = session._cache
        step = min(offset for offset in cache.places.values() if offset)
        used = rig.cuda.live[cache.base].view(np.float32)
        keys = used[: step // 4][: 2 * 192 * 16].reshape(2, 192, 16)
        assert np.abs(keys[:, :5]).min(axis=2).max() > 0
        assert not keys[:, 5:].any()
        session.decode(3)
        assert keys[:, 5].any()
        assert not keys[:, 6:].any()


def test_limits_of_the_engine_are_errors_of_one_line(rig):
    runtime = rig.runtime
    with pytest.raises(InputError, match="4000 patches is outside the engine's 4 to 512"):
        runtime.encode_image(Patches(np.zeros((4000, 1176), np.float32), Grid(40, 100)))
    with pytest.raises(InputError, match="context of 500"):
        runtime.open_session(context=500)
    with pytest.raises(InputError, match="--cache-length 4096"):
        load_runtime(rig.bundle, engines=rig.engines, trt=rig.trt, cuda=rig.cuda, context=4096)
    with pytest.raises(SessionError, match="token ids"), runtime.open_session() as session:
        session.prefill([TextSegment((10_000,))])


def test_a_picture_of_too_many_windows_is_refused(tmp_path, source):
    rig = Rig(tmp_path, source, windows=31)
    with pytest.raises(InputError, match=r"1 x 128 tokens has more attention windows than .* 31"):
        rig.runtime.encode_image(Patches(np.zeros((512, 1176), np.float32), Grid(2, 256)))


def test_features_do_not_depend_on_what_was_encoded_before(rig):
    rng = np.random.default_rng(0)
    grids = [Grid(6, 10), Grid(16, 16), Grid(6, 10)]
    pixels = rng.normal(size=(60, 1176)).astype(np.float32)
    other = rng.normal(size=(256, 1176)).astype(np.float32)
    first, _, again = (
        rig.runtime.encode_image(Patches(p, grid)).features
        for p, grid in zip((pixels, other, pixels), grids, strict=True)
    )
    np.testing.assert_array_equal(first, again)
    with rig.runtime.open_session() as session:
        session.prefill([ImageSegment(rig.runtime.encode_image(Patches(pixels, grids[0])))])
        assert (session.cells, session.position) == (15, 5)


def test_buffers_grow_and_count_their_moves():
    cuda = FakeCuda()
    buffers = Buffers(cuda)
    small = buffers.reserve("x", 100)
    assert buffers.reserve("x", 50) == small
    assert buffers.moved == 0
    buffers.reserve("x", 1000)
    assert buffers.moved == 1
    assert len(cuda.live) == 1
    buffers.close()
    assert cuda.live == {}


def test_an_engine_that_cannot_be_read_says_what_to_do(source, tmp_path):
    cuda = FakeCuda()
    trt = fake_tensorrt(cuda)
    with pytest.raises(BundleError, match=r"refuses the text engine \(Version tag.*build-engine"):
        Engine(trt, b"not an engine", cuda, name="text", profiles=1)
    bundle = write_bundle(tmp_path / "bundle", source, "trt-kv", "fp32")
    build_engines(bundle, engines=tmp_path / "engines", trt=trt, cuda=cuda)
    blob = next((tmp_path / "engines").glob("*/text.engine")).read_bytes()
    with pytest.raises(BundleError, match="not the 3 profiles"):
        Engine(trt, blob, cuda, name="text", profiles=3)


@pytest.mark.parametrize(("text", "index"), [(None, 0), ("cuda", 0), ("cuda:3", 3)])
def test_device_names(text, index):
    assert device_index(text) == index


@pytest.mark.parametrize("text", ["cpu", "gpu", "cuda:", "cuda:x", "tensorrt"])
def test_other_device_names_are_refused(text):
    with pytest.raises(InputError, match="choose cuda"):
        device_index(text)
