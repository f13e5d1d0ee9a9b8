"""Do bundles decide as their checkpoint does? Crop decisions and answers on synthetic questions.

    python benchmarks/decisions.py CHECKPOINT BUNDLE [BUNDLE ...] [--questions 500]

The reference is the checkpoint itself in transformers, fp32. A decision is the model's first turn:
a direct answer, or a call for certain crops. Answers count as the same where their text is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge.evaluation.answers import is_right  # noqa: E402
from awares_edge.evaluation.synthetic import questions  # noqa: E402

Outcome = tuple[tuple[str, ...], str, bool]


def outcomes(model: awares_edge.Model, count: int, seed: int) -> list[Outcome]:
    """(crops called for, answer, right?) of each question of the test split."""
    found: list[Outcome] = []
    options = awares_edge.AskOptions(max_new_tokens=24)
    for _, image, asked in questions("test", seed, count):
        with model.open(image) as picture:
            for question in asked:
                answer = picture.ask(question.text, options)
                crops = tuple(crop.id for crop in answer.crops)
                found.append((crops, answer.text, is_right(answer.text, question.answer)))
    return found[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--protocol", default="nano")
    options = parser.parse_args()
    with awares_edge.load(
        options.checkpoint, runtime="torch", protocol=options.protocol, threads=1
    ) as model:
        reference = outcomes(model, options.questions, options.seed)
    count = len(reference)
    zoomed = sum(bool(crops) for crops, _, _ in reference)
    right = sum(right for *_, right in reference)
    print(f"reference: {count} questions, {zoomed} zoomed, {right / count:.1%} right")
    for path in options.bundles:
        with awares_edge.load(path, protocol=options.protocol, threads=1) as model:
            ours = outcomes(model, options.questions, options.seed)
        pairs = list(zip(ours, reference, strict=True))
        decisions = sum(a[0] == b[0] for a, b in pairs) / count
        answers = sum(a[1] == b[1] for a, b in pairs) / count
        accuracy = sum(a[2] for a in ours) / count
        size = sum(file.stat().st_size for file in path.iterdir()) / 1e6
        print(
            f"{path.name:24} {size:8.1f} MB: same decision {decisions:7.2%}, same answer "
            f"{answers:7.2%}, right {accuracy:.1%}"
        )


if __name__ == "__main__":
    main()
