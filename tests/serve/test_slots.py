"""Who runs, who waits, and who is sent away."""

import pytest

from awares_edge.httpd.refusals import Refusal
from awares_edge.serve.slots import Slots


def counts(slots):
    return slots.running, slots.waiting


def test_waiting_ones_take_the_slot_over_in_order():
    slots = Slots(1, 8)
    assert slots.enter("first")
    assert [slots.enter(name) for name in "abc"] == [False] * 3
    assert counts(slots) == (1, 3)
    assert [slots.next(0.1) for _ in "abc"] == ["a", "b", "c"]
    assert slots.next(0.1) is None
    assert counts(slots) == (0, 0)


def test_several_run_at_a_time():
    slots = Slots(2, 8)
    assert [slots.enter(name) for name in "abc"] == [True, True, False]
    assert counts(slots) == (2, 1)
    assert [slots.next(0.1), slots.next(0.1)] == ["c", None]
    assert counts(slots) == (1, 0)


def test_nobody_overtakes_the_one_who_takes_a_slot_over():
    slots = Slots(1, 8)
    slots.enter("first")
    slots.enter("second")
    assert slots.next(0.1) == "second"
    assert not slots.enter("third")


def test_a_full_queue_sends_away_with_a_time_to_come_back():
    slots = Slots(1, 1)
    slots.enter("first")
    slots.enter("second")
    with pytest.raises(Refusal) as caught:
        slots.enter("third")
    assert caught.value.status == 429
    assert int(caught.value.headers["Retry-After"]) >= 1
    assert counts(slots) == (1, 1)


def test_the_time_to_come_back_follows_how_long_answers_take():
    slots = Slots(1, 4)

    def wait():
        return int(slots.full().headers["Retry-After"])

    slots.enter("first")
    for name in "abcd":
        slots.enter(name)
    short = wait()
    slots.next(100.0)
    slots.enter("e")
    assert wait() > short


def test_one_that_leaves_the_queue_takes_nobodys_turn():
    slots = Slots(1, 8)
    for name in ("first", "a", "b"):
        slots.enter(name)
    assert slots.leave("a")
    assert counts(slots) == (1, 1)
    assert slots.next(0.1) == "b"
    assert not slots.leave("b")  # it has a slot
    assert not slots.leave("a")
    assert counts(slots) == (1, 0)
