"""Who runs, who waits, and who is sent away."""

import asyncio

import pytest

from awares_edge.httpd.refusals import Refusal
from awares_edge.serve.slots import Slots


def run(scenario):
    return asyncio.run(scenario)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def waiting(slots, name, order):
    async def take():
        await slots.acquire(60)
        order.append(name)

    return asyncio.create_task(take())


def test_waiting_ones_get_their_turn_in_order():
    async def scenario():
        slots, order = Slots(1, 8), []
        await slots.acquire(1)
        tasks = [waiting(slots, name, order) for name in "abc"]
        await settle()
        assert (slots.running, slots.waiting) == (1, 3)
        for _ in tasks:
            slots.release(0.1)
            await settle()
        assert order == ["a", "b", "c"]
        slots.release(0.1)
        assert (slots.running, slots.waiting) == (0, 0)

    run(scenario())


def test_a_full_queue_sends_away_with_a_time_to_come_back():
    async def scenario():
        slots = Slots(1, 1)
        await slots.acquire(1)
        task = waiting(slots, "a", [])
        await settle()
        with pytest.raises(Refusal) as caught:
            await slots.acquire(1)
        assert caught.value.status == 429
        assert int(caught.value.headers["Retry-After"]) >= 1
        slots.release(1.0)
        await task

    run(scenario())


def test_waiting_too_long_ends_with_429():
    async def scenario():
        slots = Slots(1, 1)
        await slots.acquire(1)
        with pytest.raises(Refusal) as caught:
            await slots.acquire(0.0)
        assert caught.value.status == 429
        assert (slots.running, slots.waiting) == (1, 0)

    run(scenario())


def test_one_that_leaves_the_queue_takes_nobodys_turn():
    async def scenario():
        slots, order = Slots(1, 8), []
        await slots.acquire(1)
        first, second = waiting(slots, "a", order), waiting(slots, "b", order)
        await settle()
        first.cancel()
        await settle()
        slots.release(0.1)
        await second
        assert order == ["b"]
        assert (slots.running, slots.waiting) == (1, 0)

    run(scenario())


def test_one_that_leaves_as_its_turn_comes_hands_it_on():
    async def scenario():
        slots, order = Slots(1, 8), []
        await slots.acquire(1)
        first, second = waiting(slots, "a", order), waiting(slots, "b", order)
        await settle()
        slots.release(0.1)  # the first one's turn, but it has not noticed yet
        first.cancel()
        await second
        assert order == ["b"]
        slots.release(0.1)
        assert slots.running == 0

    run(scenario())
