"""What wrong labels cost: errors of the judge and the oracle, injected between curation and SFT.

The start is the nano model after SFT on its own low-resolution answers: it reads, and rarely calls.
Every row of the table is one `awares-edge train sft` from that start on the same curated questions,
with a share of the labels made wrong, and one `awares-edge evaluate synth`. Results that exist are
kept, so an interrupted study can be continued.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.protocol import CROP_NAMES, crop_box  # noqa: E402
from awares_edge.synth.sample import SIDE  # noqa: E402
from awares_edge.training.crop_rules import coverage, crops_for  # noqa: E402
from awares_edge.training.trajectories import Trajectory, read_trajectories  # noqa: E402
from benchmarks.ladder import awares  # noqa: E402
from benchmarks.markdown import table  # noqa: E402

QUARTERS = ("0", "1", "2", "3", "4")
COLUMNS = {
    "accuracy": "accuracy",
    "accuracy_needs_zoom": "small text",
    "accuracy_other": "other",
    "rtr": "RTR",
    "call_recall": "recall",
    "call_precision": "precision",
    "right_crop": "right crop",
}
Change = Callable[[Trajectory, np.random.Generator], Trajectory]


@dataclass(frozen=True)
class Study:
    """One row: whose labels are wrong, and how many of them."""

    title: str
    name: str
    change: Change
    rate: float


def judge_miss(row: Trajectory, _rng: np.random.Generator) -> Trajectory:
    """A judge that takes a wrong low-resolution answer for right."""
    return replace(row, label="LR", crops=()) if row.label == "HR" else row


def judge_needless(row: Trajectory, rng: np.random.Generator) -> Trajectory:
    """A judge that takes a right low-resolution answer for wrong; the oracle is then right."""
    if row.label == "HR":
        return row
    crops = crops_for(row.boxes, (SIDE, SIDE)) or (str(rng.choice(QUARTERS)),)
    return replace(row, label="HR", crops=crops)


def judge(row: Trajectory, rng: np.random.Generator) -> Trajectory:
    """A judge that is wrong in both directions alike."""
    return judge_miss(row, rng) if row.label == "HR" else judge_needless(row, rng)


def oracle(row: Trajectory, rng: np.random.Generator) -> Trajectory:
    """An oracle that names a crop in which evidence is missing."""
    if row.label == "LR":
        return row
    wrong = [crop for crop in CROP_NAMES if crop != "all" and not _holds(crop, row)]
    return replace(row, crops=(str(rng.choice(wrong)),)) if wrong else row


def _holds(crop: str, row: Trajectory) -> bool:
    box = crop_box(crop, SIDE, SIDE, "halves")
    return all(coverage(evidence, box) >= 0.95 for evidence in row.boxes)


STUDIES = (
    Study("labels as curated", "clean", judge, 0.0),
    *(Study(f"judge wrong in {p:.0%}", f"judge-{p:.0%}", judge, p) for p in (0.1, 0.2, 0.4)),
    Study("judge misses 20% of HR", "miss-20%", judge_miss, 0.2),
    Study("judge calls 20% of LR HR", "needless-20%", judge_needless, 0.2),
    *(Study(f"oracle wrong in {p:.0%}", f"oracle-{p:.0%}", oracle, p) for p in (0.1, 0.2, 0.4)),
)


def changed(rows: Iterable[Trajectory], change: Change, rate: float) -> list[Trajectory]:
    """The rows, each changed with probability `rate`; rows of a lower rate stay changed."""
    out = []
    for index, row in enumerate(rows):
        rng = np.random.default_rng([7, index])
        out.append(change(row, rng) if rng.random() < rate else row)
    return out


def write(rows: Iterable[Trajectory], path: Path) -> Path:
    path.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")
    return path


def sft(start: Path, rows: Path, out: Path, steps: int, rate: str) -> Path:
    """Fine-tune every weight; the folder of the result."""
    final = out / "final"
    if not (final / "model.safetensors").is_file():
        awares(
            "train", "sft", start, rows, "-o", out, "--protocol", "nano", "--lora", "0",
            "--steps", str(steps), "--batch", "16", "--lr", rate, "--save-steps", "1000",
        )  # fmt: skip
    return final


def measure(checkpoint: Path, file: Path, limit: int) -> dict[str, object]:
    """The result of `evaluate synth`, asked for once."""
    if not file.exists():
        file.write_text(
            awares(
                "evaluate", "synth", "--bundle", checkpoint, "--runtime", "torch", "--protocol",
                "nano", "--threads", "1", "--limit", str(limit), "--json",
            )
        )  # fmt: skip
    found: dict[str, object] = json.loads(file.read_text())
    return found


def run(options: argparse.Namespace) -> None:
    """Curate, make labels wrong, train, measure, and print the table."""
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    curated = out / "trajectories.jsonl"
    awares(
        "train", "curate", options.checkpoint, "--runtime", "torch", "--protocol", "nano",
        "--threads", "1", "--count", str(options.rows), "--seed", "77", "-o", curated,
    )  # fmt: skip
    rows = list(read_trajectories(curated, print))
    own = write(
        [replace(r, label="LR", crops=(), answer=r.low_answer or "?") for r in rows],
        out / "own.jsonl",
    )
    start = sft(options.checkpoint, own, out / "start", options.start_steps, "2e-4")
    results = [("start: rarely calls", measure(start, out / "start.json", options.limit))]
    for study in STUDIES:
        if options.only and study.name not in options.only:
            continue
        data = write(changed(rows, study.change, study.rate), out / f"{study.name}.jsonl")
        final = sft(start, data, out / study.name, options.steps, "1e-4")
        results.append((study.title, measure(final, out / f"{study.name}.json", options.limit)))
    lines = [[title, *(result[c] for c in COLUMNS)] for title, result in results]
    print(table(" | ".join(["labels", *COLUMNS.values()]), lines))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "nano")
    parser.add_argument("--rows", type=int, default=1500, help="curated questions")
    parser.add_argument("--start-steps", type=int, default=80)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--limit", type=int, default=1000, help="test questions")
    parser.add_argument("--only", nargs="*", choices=[study.name for study in STUDIES])
