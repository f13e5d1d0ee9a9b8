"""The KV cache: in place, grown in steps, copied in part."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from awares_edge.errors import ContextOverflow, InputError, SessionError
from awares_edge.runtimes.base import TextSegment
from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.onnx import cache
from awares_edge.runtimes.onnx.cache import STEP
from tests.support.pairs import make_pair, noise_patches, segments


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("cache"), "tied").runtime


def text(count, start=5):
    return TextSegment(tuple(start + i % 300 for i in range(count)))


def buffers(session):
    return session._cache._buffers


def test_a_short_question_takes_one_step_of_a_long_context(runtime):
    with runtime.open_session() as session:
        assert session.context == 4096
        session.prefill([text(10)])
        assert session._cache.capacity == STEP


def test_onnxruntime_writes_into_our_buffers(runtime):
    with runtime.open_session() as session:
        session.prefill([text(10)])
        first = buffers(session)[0]
        before = first[:, :, :10].copy()
        session.prefill([text(10, 50)])
        assert buffers(session)[0] is first
        np.testing.assert_array_equal(first[:, :, :10], before)
        assert np.abs(first[:, :, 10:20]).min() > 0


@pytest.mark.parametrize("first", [1, STEP - 1, STEP, STEP + 1])
def test_growing_keeps_what_is_there(runtime, first):
    with runtime.open_session() as session:
        session.prefill([text(first)])
        pieces = session.prefill([text(STEP, 60)], keep_logits=4)
        assert session._cache.capacity == 2 * STEP if first <= STEP else 3 * STEP
    with runtime.open_session() as session:
        whole = session.prefill([text(first), text(STEP, 60)], keep_logits=4)
    assert np.abs(pieces - whole).max() <= 2e-5 * whole.std()


def test_growing_token_by_token_across_a_step(runtime):
    with runtime.open_session() as session:
        session.prefill([text(STEP - 2)])
        ours = np.stack([session.decode(7 + i) for i in range(4)])
    with runtime.open_session() as session:
        whole = session.prefill([text(STEP - 2), text(4, 7)], keep_logits=4)
    assert np.abs(ours - whole).max() <= 2e-5 * whole.std()


def test_capacity_ends_at_the_context(runtime):
    with runtime.open_session(context=STEP + 10) as session:
        session.prefill([text(STEP + 9)])
        assert session._cache.capacity == STEP + 10
        session.decode(5)
        with pytest.raises(ContextOverflow, match="larger context"):
            session.decode(5)
        assert session.cells == STEP + 10


def test_a_fork_copies_no_more_than_it_needs(runtime):
    with runtime.open_session() as session:
        session.prefill([text(3 * STEP)])
        mark = session.mark()
        session.rewind(type(mark)(5, 5))
        with session.fork() as fork:
            assert fork._cache.capacity == STEP
            assert session._cache.capacity == 3 * STEP
            for ours, theirs in zip(buffers(fork), buffers(session), strict=True):
                assert not np.shares_memory(ours, theirs)
                np.testing.assert_array_equal(ours[:, :, :5], theirs[:, :, :5])


def test_cells_beyond_the_end_are_never_read(runtime):
    """Buffers start with whatever was in memory, and rewinding leaves old cells behind."""
    with runtime.open_session() as session:
        session.prefill([text(20)])
        mark = session.mark()
        expected = session.prefill([text(6, 90)], keep_logits=6)
        session.rewind(mark)
        for buffer in buffers(session):
            buffer[:, :, 20:] = np.nan
        np.testing.assert_array_equal(session.prefill([text(6, 90)], keep_logits=6), expected)


def test_a_restored_session_is_the_same_bit_for_bit(runtime):
    with runtime.open_session() as session:
        session.prefill([text(2 * STEP)])
        session.rewind(type(session.mark())(STEP + 3, STEP + 3))
        saved = session.save()
        assert saved.arrays["kv"].shape[2] == STEP + 3
        expected = session.prefill([text(6, 90)], keep_logits=6)
    with runtime.restore(saved) as other:
        assert other._cache.capacity == 2 * STEP
        np.testing.assert_array_equal(other.prefill([text(6, 90)], keep_logits=6), expected)


def test_buffers_on_a_device_are_saved_restored_and_copied(runtime, monkeypatch):
    """A stand-in: the code for devices, whose buffers cannot be reached in part, over memory of the
    CPU."""
    shape = replace(runtime._text._shape, device=Device("cuda", 0))
    with monkeypatch.context() as patch:
        patch.setattr(cache, "memory", lambda _: "cpu")
        patch.setattr(runtime._text, "_shape", shape)
        with runtime.open_session(context=64) as session:
            session.prefill([text(20)])
            saved = session.save()
            with session.fork() as fork, runtime.restore(saved, context=64) as other:
                expected = session.prefill([text(6, 90)], keep_logits=6)
                for one in (fork, other):
                    rows = one.prefill([text(6, 90)], keep_logits=6)
                    np.testing.assert_array_equal(rows, expected)
    with runtime.restore(saved) as other:
        rows = other.prefill([text(6, 90)], keep_logits=6)
        assert np.abs(rows - expected).max() <= 2e-5 * expected.std()


def test_a_fork_of_nothing_is_empty(runtime):
    with runtime.open_session() as session, session.fork() as fork:
        assert fork.cells == 0
        fork.prefill([text(3)])


def test_logits_of_a_call_are_its_own(runtime):
    """Later calls must not write into arrays that were handed out."""
    with runtime.open_session() as session:
        first = session.prefill([text(4)])
        kept = first.copy()
        session.decode(9)
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("token", [-1, 512, 1 << 40])
def test_tokens_outside_the_vocabulary_are_refused(runtime, token):
    with runtime.open_session() as session:
        session.prefill([text(4)])
        with pytest.raises(SessionError, match="between 0 and 511"):
            session.decode(token)
        assert session.cells == 4


@pytest.mark.parametrize("context", [0, -1, 4097])
def test_a_context_out_of_range_is_refused(runtime, context):
    with pytest.raises(InputError, match="must be between 1 and 4096"):
        runtime.open_session(context=context)


def test_sessions_in_threads_do_not_mix(runtime):
    """Eight sessions over the same graphs, each with its own picture, compute at once."""
    from concurrent.futures import ThreadPoolExecutor

    def ask(seed):
        parts = [(5, 6, 7), noise_patches(112, 112 + 28 * (seed % 3), seed), (8, 9)]
        with runtime.open_session() as session:
            first = session.prefill(segments(runtime, parts))
            return np.concatenate([first, *(session.decode(10 + seed)[None] for _ in range(5))])

    alone = [ask(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, range(8)))
    for ours, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * expected.std())
