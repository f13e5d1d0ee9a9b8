"""The paper's ablation ladder on the nano model: SFT without and with w_t, GRPO, and its costs.

    python -m recipes.nano -o runs/reader --from checkpoints/nano --stage reader
    python benchmarks/ladder.py runs/reader/checkpoint -o runs/ladder

The start reads well and answers everything directly, as a pretrained model does. Each rung is one
`awares-edge train` command and one `awares-edge evaluate synth`, each in its own process. Results
that exist are kept, so an interrupted run can be continued. Once the trajectories exist, several
processes may share the folder, each with its own --rungs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.evaluation import plot  # noqa: E402
from benchmarks.markdown import table  # noqa: E402


@dataclass(frozen=True)
class Rung:
    """One row of the ladder: how it is trained, and from which other row."""

    name: str
    title: str
    parent: str
    command: tuple[str, ...] = ()


SFT, GRPO = ("sft",), ("grpo",)
RUNGS = (
    Rung("start", "start: never calls", ""),
    Rung("sft-w1", "SFT, w_t = 1", "start", (*SFT, "--tool-weight", "1")),
    Rung("sft-w5", "SFT, w_t = 5", "start", (*SFT, "--tool-weight", "5")),
    Rung("grpo", "GRPO", "sft-w5", GRPO),
    Rung("grpo-area0", "GRPO, lambda = 0", "sft-w5", (*GRPO, "--area", "0")),
    Rung(
        "grpo-free",
        "GRPO, no tool cost",
        "sft-w5",
        (*GRPO, "--area", "0", "--miss", "0", "--use", "0"),
    ),
)


def awares(*arguments: str | Path) -> str:
    """Run one command of the toolkit; returns its standard output."""
    line = [sys.executable, "-m", "awares_edge", *map(str, arguments)]
    print("$ awares-edge", *map(str, arguments), file=sys.stderr, flush=True)
    return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout


def checkpoint(rung: Rung, options: argparse.Namespace) -> Path:
    """Folder of a rung's weights."""
    folder: Path = options.out / rung.name / "final" if rung.command else options.checkpoint
    return folder


def climb(rung: Rung, options: argparse.Namespace) -> None:
    """Train a rung from its parent, unless its weights exist."""
    folder = checkpoint(rung, options)
    if (folder / "model.safetensors").is_file():
        return
    (parent,) = (r for r in RUNGS if r.name == rung.parent)
    kind, *flags = rung.command
    sizes = {
        "sft": ("--steps", options.sft_steps, "--batch", 16, "--lr", options.sft_lr),
        "grpo": ("--steps", options.grpo_steps, "--lr", options.grpo_lr),
    }[kind]
    awares(
        "train", kind, checkpoint(parent, options), options.out / "trajectories.jsonl",
        "-o", options.out / rung.name, "--protocol", "nano", "--lora", "0",
        *map(str, sizes), *flags,
    )  # fmt: skip


def measure(rung: Rung, options: argparse.Namespace, mode: str = "awares") -> None:
    """Evaluate a rung on the test split, unless its result exists."""
    file = options.out / f"{rung.name}.{mode}.json"
    if file.exists():
        return
    text = awares(
        "evaluate", "synth", "--bundle", checkpoint(rung, options), "--runtime", "torch",
        "--protocol", "nano", "--threads", "1", "--mode", mode, "--limit", str(options.limit),
        "--json",
    )  # fmt: skip
    file.write_text(text)


def rows(out: Path) -> list[dict[str, object]]:
    """Results in the ladder's order, the start's full and low views first."""
    found = []
    wanted = [(RUNGS[0], "full"), (RUNGS[0], "low"), *((r, "awares") for r in RUNGS[1:])]
    for rung, mode in wanted:
        file = out / f"{rung.name}.{mode}.json"
        if file.exists():
            result = json.loads(file.read_text())
            title = rung.title if mode == "awares" else f"start, {mode} view"
            found.append({**result, "mode": title})
    return found


def summary(results: Sequence[dict[str, object]]) -> str:
    """The ladder as a Markdown table."""
    columns = (
        "mode",
        "accuracy",
        "rtr",
        "direct_share",
        "call_recall",
        "call_precision",
        "right_crop",
    )
    titles = " | accuracy | RTR | direct | recall | precision | right crop"
    return table(titles, [[r[c] for c in columns] for r in results])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="the start: a model that never calls")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--rungs", nargs="*", choices=[r.name for r in RUNGS])
    parser.add_argument("--rows", type=int, default=3000, help="curated questions")
    parser.add_argument("--sft-steps", type=int, default=250)
    parser.add_argument("--sft-lr", type=float, default=1e-4)
    parser.add_argument("--grpo-steps", type=int, default=100)
    parser.add_argument("--grpo-lr", type=float, default=4e-5)
    parser.add_argument("--limit", type=int, default=2000, help="test questions")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    awares(
        "train", "curate", options.checkpoint, "--runtime", "torch", "--protocol", "nano",
        "--threads", "1", "--count", str(options.rows), "--seed", "77",
        "-o", options.out / "trajectories.jsonl",
    )  # fmt: skip
    for rung in RUNGS:
        if options.rungs and rung.name not in options.rungs:
            continue
        if rung.command:
            climb(rung, options)
            measure(rung, options)
        else:
            measure(rung, options, "full")
            measure(rung, options, "low")
    results = rows(options.out)
    print(summary(results))
    if len(results) > 1:
        title = f"Ablation ladder, nano: {results[0]['questions']:,} questions of the test split"
        plot.draw(results, options.out / "ladder.png", title)


if __name__ == "__main__":
    main()
