"""Measures the nano checkpoint and writes the numbers, and their picture, into its model card.

    python benchmarks/nano_card.py [checkpoints/nano] [--questions 2000] [--jobs 2]

Every number comes from `awares_edge.evaluation`, through the controller, with transformers in
fp32. The card's text outside the markers is written by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge.evaluation import plot  # noqa: E402
from awares_edge.evaluation.modes import MODES  # noqa: E402
from awares_edge.evaluation.synthetic import PictureControl, evaluate  # noqa: E402
from awares_edge.synth.generate import HELD_BACK  # noqa: E402
from benchmarks.markdown import table  # noqa: E402

Result = dict[str, Any]
BEGIN, END = "<!-- numbers: benchmarks/nano_card.py -->", "<!-- end of numbers -->"


@dataclass(frozen=True)
class Job:
    """One evaluation."""

    checkpoint: Path
    mode: str
    questions: int
    families: tuple[str, ...] = ()
    control: PictureControl = "right"

    def run(self) -> Result:
        """The report as `evaluate synth --json` prints it, plus each question's outcome."""
        with awares_edge.load(
            self.checkpoint, runtime="torch", protocol="nano", threads=1
        ) as model:
            report = evaluate(
                model,
                self.mode,
                limit=self.questions,
                families=self.families,
                control=self.control,
            )
        print(self.mode, *self.families, self.control, "done", file=sys.stderr, flush=True)
        return {
            **report.to_dict(),
            "right": [o.correct for o in report.outcomes],
            "called": [bool(o.crops) for o in report.outcomes],
        }


def run(job: Job) -> Result:
    """A module-level function, as processes need one."""
    return job.run()


def targets(a: Result, full: Result, low: Result) -> list[tuple[str, float | None, str, bool]]:
    """The project's targets for the checkpoint: name, reached, wanted, met."""
    wanted = [
        ("full-res accuracy", full["accuracy"], 0.90),
        ("low-res below full by", full["accuracy"] - low["accuracy"], 0.15),
        ("two-turn minus full-res", a["accuracy"] - full["accuracy"], -0.01),
        ("needs high resolution", a["needs_zoom_share"], 0.35),
        ("valid calls", a["valid_calls"], 0.99),
        ("right crop", a["right_crop"], 0.95),
        ("call recall", a["call_recall"], 0.95),
        ("call precision", a["call_precision"], 0.95),
    ]
    # A share that is undefined (precision without calls) meets no target.
    rows = [(n, v, f"≥ {least:.2f}", v is not None and v >= least) for n, v, least in wanted]
    rows.insert(3, ("RTR", a["rtr"], "≤ 0.40", a["rtr"] <= 0.40))
    return rows


def by_outcome(a: Result, full: Result, low: Result) -> list[tuple[object, ...]]:
    """Calls against outcomes: a call is needed if full view is right and low-res wrong."""
    needed = [f and not w for f, w in zip(full["right"], low["right"], strict=True)]
    both = sum(n and c for n, c in zip(needed, a["called"], strict=True))
    count, calls = len(needed), sum(a["called"])
    recall = both / sum(needed) if any(needed) else None
    precision = both / calls if calls else None
    return [
        ("drawn size", a["needs_zoom_share"], a["call_recall"], a["call_precision"]),
        ("outcomes", sum(needed) / count, recall, precision),
    ]


def modes_table(results: Sequence[Result]) -> str:
    """One row per mode; scores of calls are blank where the mode makes none."""
    always = ("mode", "accuracy", "accuracy_needs_zoom", "accuracy_other", "rtr", "direct_share")
    calls = ("call_recall", "call_precision", "right_crop", "valid_calls")
    rows = []
    for r in results:
        decides = r["mode"] not in ("full", "low")
        rows.append([r[k] for k in always] + [r[k] if decides else None for k in calls])
    titles = "mode | accuracy | small text | other | RTR | direct"
    return table(titles + " | recall | precision | right crop | valid calls", rows)


def card(test: Sequence[Result], held: Sequence[Result], controls: dict[str, Result]) -> str:
    """The card's numbers in Markdown."""
    by_mode = {r["mode"]: r for r in test}
    a, full, low = by_mode["awares"], by_mode["full"], by_mode["low"]
    reached = [(n, v, w, "yes" if met else "no") for n, v, w, met in targets(a, full, low)]
    whole = full["by_kind"]
    kinds = [
        (kind, row["questions"], row["accuracy"], row["zoomed"], whole[kind]["accuracy"])
        for kind, row in a["by_kind"].items()
    ]
    guesses = [(name, r["questions"], r["accuracy"]) for name, r in controls.items()]
    share, names = f"{a['needs_zoom_share']:.0%}", ", ".join(HELD_BACK)
    parts = (
        f"{a['questions']} questions of the test split, seed 0 ({share} need a closer look):",
        modes_table(test),
        table("target | reached | wanted | met", reached),
        "Calls against two oracles: small text; low-res view wrong where the full one is right:",
        table("oracle | needed | recall | precision", by_outcome(a, full, low)),
        "By question, own policy and full view:",
        table("question (type size) | n | accuracy | zoomed | full view", kinds),
        f"Families held back from training ({names}), {held[0]['questions']} questions:",
        modes_table(held),
        "Without the right picture, which is what guessing gives:",
        table("picture | questions | accuracy", guesses),
    )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?", default=ROOT / "checkpoints" / "nano")
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "nano.png")
    options = parser.parse_args()
    plot.check(options.picture)
    folder, count = options.checkpoint, options.questions
    held = tuple(HELD_BACK)
    jobs = [Job(folder, mode, count) for mode in MODES]
    jobs += [Job(folder, mode, count // 2, held) for mode in ("awares", "full", "low")]
    jobs += [Job(folder, "awares", count // 4, control=control) for control in ("blank", "other")]
    # Forking a process with threads is unsafe; each spawned process loads its own model.
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(run, jobs))
    test, others, controls = results[:6], results[6:9], results[9:]
    text = card(test, others, {"blank": controls[0], "another": controls[1]})
    readme = folder / "README.md"
    if readme.is_file() and BEGIN in (old := readme.read_text()):
        head, rest = old.split(BEGIN)
        readme.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")
    plot.draw(test, options.picture, f"awares-edge nano, {count:,} questions of the test split")
    print(text)
    print(json.dumps({r["mode"]: r["accuracy"] for r in test}), file=sys.stderr)


if __name__ == "__main__":
    main()
