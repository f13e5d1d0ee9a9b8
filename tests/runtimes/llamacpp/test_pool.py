"""Contexts that sessions share: growth, moving, saving, and what would abort the process."""

import numpy as np
import pytest
from PIL import Image

from awares_edge.errors import ContextOverflow, InputError, SessionError
from awares_edge.runtimes.base import EncodedImage, ImageSegment, Mark, TextSegment
from awares_edge.runtimes.llamacpp.pool import OUTPUTS, SEQUENCES
from awares_edge.vision import Preprocessing, extract_patches
from awares_edge.vision.geometry import Grid

IDS = tuple(range(3, 103))
# Another order of additions, nothing more.
CLOSE = 5e-5


def close(one, two):
    return np.abs(one - two).max() <= CLOSE * two.std()


def picture(runtime, width=112, height=84):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    patches = extract_patches(
        Image.fromarray(pixels), Preprocessing(), min_pixels=3136, max_pixels=200_000
    )
    return ImageSegment(runtime.encode_image(patches))


def test_a_session_that_outgrows_its_pool_moves_and_goes_on(runtime):
    image = picture(runtime)
    with runtime.open_session() as alone:
        expected = alone.prefill([TextSegment(IDS), image, TextSegment(IDS)], keep_logits=5)
    sessions = [runtime.open_session() for _ in range(5)]
    for session in sessions:
        session.prefill([TextSegment(IDS), image])
    for session in sessions:
        assert close(session.prefill([TextSegment(IDS)], keep_logits=5), expected)
    assert len(runtime.pools.all) > 1
    for session in sessions:
        session.close()
    assert len(runtime.pools.all) == 1
    assert runtime.pools.all[0].used == 0
    assert runtime.pools.all[0].sessions == 0


def test_more_sessions_than_a_pool_has_sequences(runtime):
    sessions = [runtime.open_session() for _ in range(SEQUENCES + 2)]
    first, last = (s.prefill([TextSegment(IDS[:4])]) for s in (sessions[0], sessions[-1]))
    assert close(first, last)
    forks = [sessions[0].fork() for _ in range(3)]
    assert close(forks[-1].decode(9), sessions[0].decode(9))
    for session in [*sessions, *forks]:
        session.close()
    assert len(runtime.pools.all) == 1


def test_forks_share_cells(runtime):
    session = runtime.open_session()
    session.prefill([TextSegment(IDS * 2)])
    # Eight times 200 cells would not fit a pool of 256.
    forks = [session.fork() for _ in range(8)]
    expected = session.decode(5)
    assert len(runtime.pools.all) == 1
    for fork in forks:
        assert close(fork.decode(5), expected)
        fork.close()


def test_a_saved_session_goes_on_exactly(runtime):
    image = picture(runtime)
    with runtime.open_session() as session:
        session.prefill([TextSegment(IDS[:9]), image])
        state = session.save()
        expected = session.prefill([TextSegment(IDS[:5])], keep_logits=5)
    assert state.nbytes > 0
    with runtime.restore(state) as other:
        assert (other.cells, other.position) == (state.mark.cells, state.mark.position)
        assert np.array_equal(other.prefill([TextSegment(IDS[:5])], keep_logits=5), expected)
        other.rewind(Mark(9, 9))
        other.decode(7)


def test_kept_and_from_scratch_are_bit_for_bit_the_same(bundle_root):
    from awares_edge.bundle import Bundle
    from awares_edge.runtimes.llamacpp import LlamaRuntime

    def turns(at_once):
        with LlamaRuntime.load(Bundle.open(bundle_root), threads=1, context=512) as runtime:
            one, two = picture(runtime), picture(runtime, 84, 140)
            first = [TextSegment(IDS[:40]), one, TextSegment(IDS[:20])]
            second = [TextSegment(IDS[:12]), two, TextSegment(IDS[:9])]
            session = runtime.open_session()
            if at_once:
                return session.prefill(first + second, keep_logits=9)
            session.prefill(first)
            return session.prefill(second, keep_logits=9)

    assert np.array_equal(turns(True), turns(False))


def test_more_rows_of_logits_than_one_batch_gives(runtime):
    count = 2 * OUTPUTS + 7
    with runtime.open_session() as session:
        rows = session.prefill([TextSegment(IDS)], keep_logits=count)
    assert rows.shape == (count, runtime.vocabulary)
    with runtime.open_session() as session:
        session.prefill([TextSegment(IDS[: 100 - count])])
        assert close(np.stack([session.decode(i) for i in IDS[100 - count :]]), rows)


def test_a_picture_and_a_text_longer_than_a_batch(bundle_root):
    from awares_edge.bundle import Bundle
    from awares_edge.runtimes.llamacpp import LlamaRuntime

    with LlamaRuntime.load(Bundle.open(bundle_root), threads=1, context=2048) as runtime:
        image = picture(runtime, 28 * 30, 28 * 20)
        assert image.cells > 3 * 64
        segments = [TextSegment(IDS * 6), image, TextSegment(IDS[:3])]
        with runtime.open_session() as session:
            whole = session.prefill(segments)
        runtime.pools.batch = 64
        with runtime.open_session() as session:
            assert close(session.prefill(segments), whole)


@pytest.mark.parametrize("ids", [(-1,), (10**6,), (5, 2**31 - 1)])
def test_ids_outside_the_vocabulary(runtime, ids):
    with runtime.open_session() as session:
        with pytest.raises(SessionError, match="token ids must be between 0 and 511"):
            session.prefill([TextSegment((4, 5)), TextSegment(ids)])
        assert session.cells == 0
        session.decode(4)


@pytest.mark.parametrize("shape", [(6, 32), (5, 96), (6,), (96, 6)])
def test_features_of_another_runtime(runtime, shape):
    image = EncodedImage(np.zeros(shape, np.float32), Grid(4, 6))
    with runtime.open_session() as session:
        with pytest.raises(SessionError, match="encode"):
            session.prefill([TextSegment((4,)), ImageSegment(image)])
        assert session.cells == 0


def test_no_rewinding_into_a_picture(runtime):
    with runtime.open_session() as session:
        session.prefill([TextSegment((4,)), picture(runtime)])
        with pytest.raises(SessionError, match="middle of a picture"):
            session.rewind(Mark(3, 1))


def test_a_full_context_is_an_error_and_the_session_goes_on(runtime):
    with runtime.open_session() as session:
        session.prefill([TextSegment(IDS * 2)])
        with pytest.raises(ContextOverflow, match="context of 256"):
            session.prefill([TextSegment(IDS)])
        session.prefill([TextSegment(IDS[:56])])
        with pytest.raises(ContextOverflow):
            session.decode(4)
    with pytest.raises(InputError, match="must be between 1 and 256"):
        runtime.open_session(257)


def test_use_after_close_is_an_error(bundle_root):
    from awares_edge.bundle import Bundle
    from awares_edge.runtimes.llamacpp import LlamaRuntime

    runtime = LlamaRuntime.load(Bundle.open(bundle_root), threads=1, context=64)
    session = runtime.open_session()
    session.decode(4)
    runtime.close()
    runtime.close()
    with pytest.raises(SessionError, match="closed"):
        session.decode(4)
    for use in (
        lambda: picture(runtime),
        session.fork,
        session.save,
        runtime.open_session,
        lambda: session.rewind(Mark(0, 0)),
    ):
        with pytest.raises(SessionError, match="closed"):
            use()
    session.close()


@pytest.mark.parametrize("context", [1, 2, 31, 257])
def test_small_and_odd_contexts(bundle_root, context):
    from awares_edge.bundle import Bundle
    from awares_edge.runtimes.llamacpp import LlamaRuntime

    with LlamaRuntime.load(Bundle.open(bundle_root), threads=1, context=context) as runtime:
        sessions = [runtime.open_session() for _ in range(3)]
        ids = (IDS * 3)[:context]
        rows = [session.prefill([TextSegment(ids)]) for session in sessions]
        assert close(rows[0], rows[2])
        with pytest.raises(ContextOverflow):
            sessions[0].decode(4)
        state = sessions[0].save()
        if context > 1:
            with pytest.raises(ContextOverflow, match="larger one"):
                runtime.restore(state, context - 1)
