"""What three questions about one picture cost: apart, over one kept picture, in one conversation.

    python benchmarks/conversation.py [--bundle DIR] [--pictures 100] [--seed 0]

"apart": each question opens the picture anew. "picture": its view is kept, the questions before
are forgotten. "talk": each question sees those before it, their answers and crops. Pictures are
those of the synthetic test split. The system prompt is counted for every question that is asked
apart, as in three runs of the command line ("with system"), or left out.

nano's view has 16 tokens and it never saw a second question in training, so a last table counts the
same for larger pictures under the profile "paper", with scripted replies and one token a byte of
text, which is more than a real tokenizer makes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markdown import table

import awares_edge
from awares_edge import Answer, AskOptions
from awares_edge.evaluation.answers import is_right
from awares_edge.evaluation.synthetic import questions
from awares_edge.synth.sample import Question

WAYS = ("apart", "picture", "talk")
COUNT = 3
"""Questions of one picture."""
ASKED = ("What does the sign say?", "What colour is it?", "Who stands beside it?")


@dataclass(frozen=True)
class Asked:
    """One question and its answer in each of the three ways."""

    position: int
    question: Question
    answers: dict[str, Answer]


def ask_all(model: awares_edge.Model, pictures: int, seed: int) -> Iterator[Asked]:
    given = 0
    # A picture has six questions at most: enough are asked for, and the rest is left.
    for _, image, found in questions("test", seed, 12 * pictures):
        asked = found[:COUNT]
        if len(asked) < COUNT:
            continue
        options = AskOptions(max_new_tokens=24)
        following = AskOptions(max_new_tokens=24, follow_up=True)
        with model.open(image) as kept, model.open(image) as talk:
            for position, question in enumerate(asked):
                answers = {
                    "apart": model.ask(image, question.text, options),
                    "picture": kept.ask(question.text, options),
                    "talk": talk.ask(question.text, following),
                }
                yield Asked(position, question, answers)
        given += 1
        if given == pictures:
            return


def prefilled(rows: list[Asked], way: str) -> int:
    """Tokens that were prefilled, those of the system prompt left out."""
    return sum(turn.prefill_tokens for row in rows for turn in row.answers[way].turns)


def share(rows: list[Asked], way: str, system: int) -> str:
    """Prefilled tokens as a share of those of questions asked apart."""
    runs = sum(row.position == 0 for row in rows)
    ours = prefilled(rows, way) + system * (len(rows) if way == "apart" else runs)
    return f"{ours / (prefilled(rows, 'apart') + system * len(rows)):.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="default: the embedded nano model")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with awares_edge.load(options.bundle, threads=1) as model:
        rows = list(ask_all(model, options.pictures, options.seed))
        system = len(model.prompt.system())
        view = rows[0].answers["apart"].visual_tokens.low
    print(f"{len(rows) // COUNT} pictures, {COUNT} questions each; view {view}, system {system}\n")
    costs = [
        (way, prefilled(rows, way), share(rows, way, 0), share(rows, way, system)) for way in WAYS
    ]
    print(table("way | prefilled tokens | share | share with system", costs), end="\n\n")
    print(
        table("position | way | same answer | same crops | right | zoomed", positions(rows)),
        end="\n\n",
    )
    print(table("picture | view | apart | talk | share", by_size()))


def by_size() -> Iterator[tuple[object, ...]]:
    """(picture, view, zooms, prefilled apart, in one conversation, share), scripted."""
    call = "GET_CROPS: ['3']"
    for side in (224, 896, 1792):
        pixels = np.zeros((side, side, 3), np.uint8)
        for zooms, apart, talk in (
            ("none", ["a", "b", "c"], ["a", "b", "c"]),
            ("one", [call, "a", "b", "c"], [call, "a", "b", "c"]),
            # In a conversation the crop is there already: the call is taken back.
            ("three, same crop", [call, "a"] * 3, [call, "a", [call, "b"], [call, "c"]]),
        ):
            alone = awares_edge.scripted(apart)
            with alone, awares_edge.scripted(talk).open(pixels) as picture:
                ways = [
                    [alone.ask(pixels, text) for text in ASKED],
                    [picture.ask(text, AskOptions(follow_up=True)) for text in ASKED],
                ]
            costs = [sum(t.prefill_tokens for a in way for t in a.turns) for way in ways]
            view = ways[0][0].visual_tokens.low
            yield f"{side} x {side}", view, zooms, *costs, f"{costs[1] / costs[0]:.1%}"


def positions(rows: list[Asked]) -> Iterator[tuple[object, ...]]:
    for position in range(COUNT):
        here = [row for row in rows if row.position == position]
        for way in WAYS:
            pairs = [(row.answers[way], row.answers["apart"], row.question) for row in here]
            yield (
                position + 1,
                way,
                sum(one.text == other.text for one, other, _ in pairs) / len(pairs),
                sum(ids(one) == ids(other) for one, other, _ in pairs) / len(pairs),
                sum(is_right(one.text, question.answer) for one, _, question in pairs) / len(pairs),
                sum(one.zoomed for one, *_ in pairs) / len(pairs),
            )


def ids(answer: Answer) -> tuple[str, ...]:
    return tuple(crop.id for crop in answer.crops)


if __name__ == "__main__":
    main()
