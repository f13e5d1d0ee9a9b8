"""An inspection robot: drives from gauge to gauge, reads each, and raises an alarm out of range.

    python examples/gauge_robot.py

A reading counts only if two frames agree; the robot tries a few times. The gauges are bars of the
synthetic suite, which the embedded model can read: use your own model and camera for real ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulated import SimulatedCamera

import awares_edge
from awares_edge import live
from awares_edge.synth import Sample, generate


@dataclass(frozen=True)
class Gauge:
    """What is known about a gauge: where the robot finds it, and its normal range."""

    station: int
    question: str
    low: int
    high: int


ROUTE = (
    Gauge(0, "What is the value of the blue bar?", 50, 90),
    Gauge(0, "What is the value of the red bar?", 60, 90),
    Gauge(1, "What is the value of the purple bar?", 50, 90),
    Gauge(1, "What is the value of the blue bar?", 10, 40),
    Gauge(2, "What is the value of the red bar?", 0, 99),
)


def station(number: int) -> Sample:
    """What the camera sees at a station."""
    return generate("test", 1, number, family="chart")


def read(asker: live.LiveAsker, latest: live.LatestFrame, question: str) -> int | None:
    """A reading on which two frames in a row agree; None if none did in four."""
    before, frame = None, None
    for _ in range(4):
        frame = latest.newer_than(frame, timeout=1.0)
        if frame is None:
            return None  # the camera has stopped
        try:
            text = asker.submit(frame, question).result().text
        except awares_edge.Interrupted:
            continue  # this frame came too late: take the next one
        if text.isdecimal() and text == before:
            return int(text)
        before = text
    return None


def main() -> list[tuple[Gauge, int | None, str]]:
    """Inspect the route; each gauge with its reading and verdict."""
    latest, log = live.LatestFrame(), []
    with (
        awares_edge.load(threads=1) as model,
        live.LiveAsker(model, max_age_ms=1000, deadline_ms=5000) as asker,
        SimulatedCamera(latest) as camera,
    ):
        for gauge in ROUTE:
            camera.look_at(station(gauge.station).picture)  # the robot has arrived
            value = read(asker, latest, gauge.question)
            if value is None:
                verdict = "unreadable"
            else:
                verdict = "ok" if gauge.low <= value <= gauge.high else "ALARM"
            print(f"station {gauge.station}: {gauge.question} {value} -> {verdict}")
            log.append((gauge, value, verdict))
    return log


if __name__ == "__main__":
    main()
