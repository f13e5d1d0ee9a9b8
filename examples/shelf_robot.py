"""A shelf robot: compares the labels on each shelf with a plan.

    python examples/shelf_robot.py

It asks several questions about one frame, so that the picture is computed once, and prints progress
from the events. When a shelf takes too long it drives on and cancels what is left.
"""

from __future__ import annotations

from time import monotonic

from simulated import SimulatedCamera

import awares_edge
from awares_edge import live
from awares_edge.synth import Sample, generate

SHELF_S = 20.0  # seconds for each shelf


def shelf(number: int) -> Sample:
    """What the camera sees in front of a shelf."""
    return generate("test", 1, number, family="scene")


def plan(number: int) -> dict[str, str]:
    """What should be on a shelf: by product, its label."""
    labels = [q for q in shelf(number).questions if q.kind == "label"]
    expected = {q.text.removeprefix("What is the label of ").rstrip("?"): q.answer for q in labels}
    if number == 1:
        expected[next(iter(expected))] = "X00"  # somebody has put the wrong product there
    return expected


def inspect(asker: live.LiveAsker, frame: live.Frame, expected: dict[str, str]) -> dict[str, str]:
    """What is wrong on a shelf: by product, what was found instead."""
    until = monotonic() + SHELF_S
    tickets = {
        product: asker.submit(frame, f"What is the label of {product}?") for product in expected
    }
    wrong = {}
    for product, ticket in tickets.items():
        try:
            found = ticket.result(timeout=max(0.0, until - monotonic())).text
        except TimeoutError:
            ticket.cancel()
            found = "not read in time"
        except awares_edge.AwaresError as error:
            found = f"not read: {error}"
        if found != expected[product]:
            wrong[product] = found
    return wrong


def report(event: live.LiveEvent) -> None:
    """Say where the robot is looking closer."""
    if isinstance(event, live.Regions):
        names = ", ".join(crop.name for crop in event.crops)
        print(f"  {event.ticket.question} looking at {names}")


def main(shelves: int = 3) -> list[dict[str, str]]:
    """Inspect the shelves; what is wrong on each."""
    latest, log = live.LatestFrame(), []
    with (
        awares_edge.load(threads=1) as model,
        live.LiveAsker(model, policy="queue", most_waiting=16) as asker,
        SimulatedCamera(latest) as camera,
    ):
        asker.subscribe(report)
        for number in range(shelves):
            camera.look_at(shelf(number).picture)
            frame = latest()
            assert frame is not None
            wrong = inspect(asker, frame, plan(number))
            print(f"shelf {number}: {wrong or 'as planned'}")
            log.append(wrong)
    return log


if __name__ == "__main__":
    main()
