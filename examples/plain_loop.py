"""A plain Python loop: ask about the newest frame, again and again, and never about an old one.

    python examples/plain_loop.py

Shows the parts that every embedding has: a source of frames, limits of age and time, and what to do
where no answer comes.
"""

from __future__ import annotations

from simulated import SimulatedCamera

import awares_edge
from awares_edge import live
from awares_edge.synth import generate

QUESTION = "How many objects are there?"


def main(rounds: int = 5) -> list[str]:
    """Ask about a new scene each round; what was printed."""
    latest, printed = live.LatestFrame(), []
    with (
        awares_edge.load(threads=1) as model,
        live.LiveAsker(model, max_age_ms=500, deadline_ms=2000) as asker,
        SimulatedCamera(latest) as camera,
    ):
        for number in range(rounds):
            camera.look_at(generate("test", 1, number, family="scene").picture)
            ticket = asker.submit(latest, QUESTION)
            try:
                answer = ticket.result(timeout=10)
            except awares_edge.Interrupted as error:  # superseded, too old, late or cancelled
                line = f"no answer: {error}"
            except awares_edge.AwaresError as error:
                line = f"failed: {error}"
            else:
                line = f"{answer.text} (frame {ticket.frame.stamp}, RTR {answer.rtr:.2f})"
            print(line)
            printed.append(line)
        print(asker.counts())
    return printed


if __name__ == "__main__":
    main()
