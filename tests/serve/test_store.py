"""Kept pictures: found again by what they were computed from, and by nothing else."""

import pytest

import awares_edge
from awares_edge.errors import QuestionError
from awares_edge.serve.images import ImageData, make_sheet
from awares_edge.serve.store import PictureStore
from tests.serve.support import encoded, picture

CELL = 1000


def store(model, most=8, most_bytes=1 << 30):
    return PictureStore(model, most=most, most_bytes=most_bytes, cell_bytes=CELL)


def ask(kept_pictures, seed=0, size=(448, 336), question="What?", fail=False):
    """Ask about a picture; whether its KV was there, the system prompt's aside."""
    data = ImageData((encoded(picture(seed, size)),), f"{seed} {size}")
    with kept_pictures.borrow(data.digest, lambda: make_sheet(data, 10**8)) as kept:
        answer = kept.picture.ask(question)
        if fail:
            raise RuntimeError
        kept_pictures.answered(kept, answer)
    return answer.turns[0].reused_tokens


def test_a_second_question_finds_the_picture_again():
    with awares_edge.scripted(["a"] * 4) as model:
        kept = store(model)
        cold, warm = ask(kept), ask(kept)
        assert warm > cold
        assert ask(kept, seed=1) == cold


def test_one_that_failed_is_not_kept():
    with awares_edge.scripted(["a"] * 2) as model:
        kept = store(model)
        with pytest.raises(RuntimeError):
            ask(kept, fail=True)
        assert len(kept) == 0


def test_one_that_fails_later_loses_its_place():
    with awares_edge.scripted(["a"] * 3) as model:
        kept = store(model)
        cold = ask(kept)
        with pytest.raises(RuntimeError):
            ask(kept, fail=True)
        assert ask(kept) == cold


def test_a_question_that_cannot_be_asked_leaves_the_picture_in_its_place():
    with awares_edge.scripted(["a"] * 3) as model:
        kept = store(model)
        cold = ask(kept)
        with pytest.raises(QuestionError):
            ask(kept, question="")
        assert ask(kept) > cold


def test_another_profile_is_another_picture():
    keys = set()
    for protocol in ("paper", "readme", "evaluator"):
        with awares_edge.scripted(["a"], protocol=protocol) as model:
            kept = store(model)
            ask(kept)
            keys.update(kept._kept)
    assert len(keys) == 3


def test_a_picture_is_lent_to_one_question_at_a_time():
    with awares_edge.scripted(["a"] * 3) as model:
        kept = store(model)
        ask(kept)
        with (
            kept.borrow("0 (448, 336)", lambda: None) as first,
            pytest.raises(AttributeError),  # it would have to be made anew
            kept.borrow("0 (448, 336)", lambda: None),
        ):
            pass
        assert not first.answered


def test_the_least_recently_used_is_closed_first():
    with awares_edge.scripted(["a"] * 9) as model:
        kept = store(model, most=2)
        cold = ask(kept, seed=0)
        ask(kept, seed=1)
        ask(kept, seed=0)
        ask(kept, seed=2)  # 1 goes
        assert ask(kept, seed=0) > cold
        assert ask(kept, seed=1) == cold
        assert len(kept) == 2


def test_memory_is_bounded_and_given_back():
    with awares_edge.scripted(["a"] * 9) as model:
        kept = store(model)
        ask(kept, seed=0)
        one = kept.nbytes
        # Pixels, and cells in steps of 256.
        assert one >= 448 * 336 * 3 + 256 * CELL
        kept = store(model, most_bytes=2 * one)
        for seed in range(4):
            ask(kept, seed=seed)
            assert kept.nbytes <= 2 * one
        assert len(kept) == 2
        opened = [k.picture for k in kept._kept.values()]
        kept.close()
        with pytest.raises(awares_edge.SessionError):
            opened[0].ask("What?")


def test_a_larger_picture_than_all_memory_is_answered_and_not_kept():
    with awares_edge.scripted(["a"] * 2) as model:
        kept = store(model, most_bytes=1000)
        ask(kept)
        assert len(kept) == 0
        ask(store(model, most=0))


def test_nothing_is_kept_after_closing():
    with awares_edge.scripted(["a"]) as model:
        kept = store(model)
        kept.close()
        ask(kept)
        assert len(kept) == 0
