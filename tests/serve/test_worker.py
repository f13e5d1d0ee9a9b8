"""Questions on threads: waiting too long, giving up, closing."""

import asyncio
import threading
from time import perf_counter

import pytest

import awares_edge
from awares_edge.controller import AskOptions
from awares_edge.errors import AwaresError
from awares_edge.httpd.refusals import Refusal
from awares_edge.serve.images import ImageData
from awares_edge.serve.metrics import Pace
from awares_edge.serve.options import ServeOptions
from awares_edge.serve.worker import Question, Worker
from tests.serve.support import Brake, encoded, picture


def question(arrived, seed=0):
    data = encoded(picture(seed))

    def ask(left, cancel):
        return AskOptions(timeout=left, cancel=cancel)

    return Question("What?", ImageData((data,), str(seed)), ask, Pace(arrived))


def run(scenario, *replies, **options):
    """Run `scenario(worker, now)` in an event loop."""

    async def main(model):
        worker = Worker(model, ServeOptions(**options))
        try:
            await asyncio.wait_for(scenario(worker, perf_counter()), 60)
        finally:
            worker.close()

    with awares_edge.scripted(replies) as model:
        asyncio.run(main(model))


def test_questions_are_answered_in_the_order_in_which_they_came():
    async def scenario(worker, now):
        futures = [worker.start(question(now, seed)) for seed in range(3)]
        answers = [(await future).answer.text for future in futures]
        assert answers == ["one", "two", "three"]
        assert (worker.slots.running, worker.slots.waiting) == (0, 0)

    run(scenario, "one", "two", "three")


def test_one_that_waits_too_long_gets_429_and_the_next_one_its_turn(monkeypatch):
    brake = Brake(monkeypatch)

    async def scenario(worker, now):
        first = worker.start(question(now))
        late = worker.start(question(now - 59.9, seed=1))  # a tenth of a second is left
        third = worker.start(question(now, seed=2))
        with pytest.raises(Refusal) as caught:
            await late
        assert caught.value.status == 429
        assert (worker.slots.running, worker.slots.waiting) == (1, 1)
        brake.go.set()
        assert [(await f).answer.text for f in (first, third)] == ["one", "two"]

    run(scenario, "one", "two", timeout=60.0)


def test_one_that_is_given_up_while_it_waits_is_never_computed(monkeypatch):
    brake = Brake(monkeypatch)

    async def scenario(worker, now):
        first, second, third = (worker.start(question(now, seed)) for seed in range(3))
        second.cancel()
        await asyncio.sleep(0)
        assert worker.slots.waiting == 1
        brake.go.set()
        assert [(await f).answer.text for f in (first, third)] == ["one", "two"]

    run(scenario, "one", "two")


def test_one_that_fails_leaves_the_thread_to_the_next():
    async def scenario(worker, now):
        broken = question(now)
        broken = Question(broken.text, ImageData((b"no picture",), "x"), broken.ask, broken.pace)
        failing, fine = worker.start(broken), worker.start(question(now))
        with pytest.raises(AwaresError):
            await failing
        assert (await fine).answer.text == "42"

    run(scenario, "42")


def test_closing_cancels_what_runs_and_what_waits(monkeypatch):
    Brake(monkeypatch, seconds=0.005)

    async def scenario(worker, now):
        first, second = worker.start(question(now)), worker.start(question(now, seed=1))
        worker.close()
        assert first.cancelled()
        assert second.cancelled()
        assert not [t for t in threading.enumerate() if t.name.startswith("question")]

    run(scenario, "x" * 20_000, "two")
