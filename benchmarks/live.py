"""What `awares_edge.live` adds to a question, and how old the frames of a camera are when answered.

python benchmarks/live.py [--bundle DIR] [--rate 30] [--rounds 100] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, perf_counter

import awares_edge
from awares_edge import live
from awares_edge.synth import generate

QUESTION = "How many objects are there?"
PICTURE = generate("test", 1, 0, family="scene").picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="default: the embedded nano model")
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    model = awares_edge.load(arguments.bundle, threads=arguments.threads)
    with model, live.LiveAsker(model) as asker:
        model.ask(PICTURE, QUESTION)  # warm-up
        direct = [around(lambda: model.ask(PICTURE, QUESTION)) for _ in range(rounds)]
        ticket = [
            around(lambda: asker.submit(live.Frame(PICTURE), QUESTION).result())
            for _ in range(rounds)
        ]
        ages = frame_ages(asker, arguments.rate, rounds)
    called, asked, age = map(statistics.median, (direct, ticket, ages))
    print(f"around a question, called directly  {called:8.2f} ms (median of {rounds})")
    print(f"around a question, through a ticket {asked:8.2f} ms")
    print(f"age of the frame when answered      {age:8.2f} ms at {arguments.rate:g} Hz")
    print(f"  19 of 20 are below                {statistics.quantiles(ages, n=20)[-1]:8.2f} ms")


def around(ask: Callable[[], awares_edge.Answer]) -> float:
    """Milliseconds that a question takes beside its own: opening the picture, threads, closing."""
    start = perf_counter()
    answer = ask()
    return (perf_counter() - start) * 1e3 - answer.total_ms


def frame_ages(asker: live.LiveAsker, rate: float, rounds: int) -> list[float]:
    """Ask about the newest frame, again and again; milliseconds from taking it to its answer."""
    latest, stop = live.LatestFrame(), threading.Event()

    def camera() -> None:
        while not stop.wait(1 / rate):
            latest.put(live.Frame(PICTURE))

    thread = threading.Thread(target=camera)
    thread.start()
    ages = []
    try:
        latest.newer_than(None)
        for _ in range(rounds):
            ticket = asker.submit(latest, QUESTION)
            ticket.result()
            ages.append((monotonic() - ticket.frame.taken) * 1e3)
    finally:
        stop.set()
        thread.join()
    return ages


if __name__ == "__main__":
    main()
