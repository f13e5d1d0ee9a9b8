"""Batches of the language stages: pictures and packed rows, as numpy arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from awares_edge.synth.generate import Split, generate
from awares_edge.synth.oracle import is_clear, smallest_crops
from awares_edge.synth.sample import READ_ALL, Question, Sample
from recipes.nano import boxes
from recipes.nano.packing import Packer, Row, View
from recipes.nano.views import Slots, ViewTable

JITTERED = 0.25
"""Share of boxes at a random place around their evidence. They are read, but not taught."""

SEVERAL = 0.5
"""Share of rows that ask questions with several pieces of evidence first, because they are rare."""


@dataclass(frozen=True)
class Mix:
    """What goes into the rows of a batch.

    Attributes:
        two_turn: share of calls that continue with the crops and the answer.
        length: tokens per row.
        full_rows: share of pictures that get one full and one low-res row; others get two low-res
            rows.
        full, low: weights of small-text, large-text and other questions in each kind of row.
        easy_start: share of easy pictures (one to three objects) at the first batch. Matching a
            question to one object among many is learnt after reading.
        easy_steps: batches over which that share falls to ``easy_floor``.
        easy_floor: share of easy pictures afterwards.
        drills: matching and locating exercises per row. Matching takes longest to learn.
        read_all: share of rows that read out all text of the picture (dense supervision).
        documents: extra share of documents, beside every third picture. Their crowded lines are
            the hardest to read at low resolution.
        policy: learn to call. If False, small text is answered at low resolution too, and crops
            are read when given: the model never calls.
        boxes: call for one box (`boxes.PROFILE`) instead of crops.
        targets: most supervised positions per row.
    """

    two_turn: float = 0.5
    length: int = 224
    full_rows: float = 1.0
    full: tuple[float, float, float] = (0.5, 0.3, 0.2)
    low: tuple[float, float, float] = (0.3, 0.42, 0.28)
    read_all: float = 0.0
    drills: int = 0
    easy_start: float = 0.0
    easy_steps: int = 1
    easy_floor: float = 0.0
    policy: bool = True
    documents: float = 0.0
    boxes: bool = False
    targets: int = 64


class Batches(Dataset[dict[str, Any]]):
    """Batch ``i`` depends only on (split, seed, i) and on ``hard``.

    Attributes:
        hard: numbers of the questions that need a call whatever the size of their text, by picture
            index (see ``outcomes``).
    """

    def __init__(self, split: Split, seed: int, slots: Slots, mix: Mix) -> None:
        self.split, self.seed, self.slots, self.mix = split, seed, slots, mix
        self.packer = Packer(boxes.PROFILE if mix.boxes else None)
        self.hard: Mapping[int, Sequence[int]] = {}

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, i: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, i, 77])
        table = ViewTable(self.slots)
        rows: list[Row] = []
        for index, sample in self.pictures(i):
            picture = table.add_picture(sample.picture)
            hard = self.hard.get(index, ())
            whole = table.view(picture, "all") if rng.random() < self.mix.full_rows else None
            if whole is not None:
                rows.append(self._full_row(rng, whole, sample))
            else:
                rows.append(self._low_row(rng, table, picture, sample, hard))
            rows.append(self._low_row(rng, table, picture, sample, hard))
        return assemble(table, rows, self.mix.targets)

    def pictures(self, i: int) -> Iterator[tuple[int, Sample]]:
        """Pictures of batch ``i``, each with its index in the split."""
        mix = self.mix
        rng = np.random.default_rng([self.seed, i, 78])
        for index in range(i * self.slots.pictures, (i + 1) * self.slots.pictures):
            easy = rng.random() < max(mix.easy_floor, mix.easy_start * (1 - i / mix.easy_steps))
            limit = int(rng.choice((1, 1, 2, 2, 3))) if easy else 0
            family = "document" if rng.random() < mix.documents else None
            yield index, generate(self.split, self.seed, index, family=family, limit=limit)

    def _full_row(self, rng: np.random.Generator, view: View, sample: Sample) -> Row:
        mix = self.mix
        row = self.packer.begin(mix.length, view)
        if rng.random() < self.mix.read_all:
            self._describe(rng, row, sample, True)
        matches = [q for q in sample.drills if q.kind == "match"]
        for k in rng.permutation(len(matches))[: mix.drills]:
            self.packer.direct(row, matches[k].text, matches[k].answer, "match")
        for q in mixed(rng, sample.questions, 12, mix.full):
            self.packer.direct(row, q.text, q.answer, _kind("full", q), partner=q.size != "none")
        return row

    def _describe(self, rng: np.random.Generator, row: Row, sample: Sample, full: bool) -> None:
        """List names and their text in random order; small text only at full resolution."""
        chosen = [sample.bindings[int(k)] for k in rng.permutation(len(sample.bindings))]
        items = [(b.name, b.text if full or not b.small else "") for b in chosen]
        self.packer.describe(row, READ_ALL, items)

    def _low_row(
        self,
        rng: np.random.Generator,
        table: ViewTable,
        picture: int,
        sample: Sample,
        hard: Sequence[int],
    ) -> Row:
        mix = self.mix
        view = table.view(picture, "low")
        assert view is not None
        row = self.packer.begin(mix.length, view)
        if rng.random() < mix.read_all:
            self._describe(rng, row, sample, False)
        left = {"locate": self.mix.drills, "match": self.mix.drills // 2}
        for k in rng.permutation(len(sample.drills)):
            q = sample.drills[k]
            left[q.kind] -= 1
            if left[q.kind] < 0 or (q.kind == "locate" and not is_clear(q.evidence)):
                continue
            if q.kind == "match":
                self.packer.direct(row, q.text, q.answer, "match", 2.0)
            else:
                self.packer.call(row, q.text, self._where(q), kind="locate")
        questions = [
            replace(q, size="small") if number in hard else q
            for number, q in enumerate(sample.questions)
        ]
        first = {questions[number].text for number in hard}  # hard questions are rare
        for q in mixed(rng, questions, 12, mix.low, first):
            if q.size != "small" or not mix.policy:
                self.packer.direct(
                    row, q.text, q.answer, _kind("low", q), 2.0, partner=q.size != "none"
                )
            if q.size == "small":
                self._closer_look(rng, row, table, picture, q)
        return row

    def _closer_look(
        self, rng: np.random.Generator, row: Row, table: ViewTable, picture: int, q: Question
    ) -> None:
        """Add a call, and for a share of calls what it shows and the answer."""
        mix = self.mix
        jittered = mix.boxes and rng.random() < JITTERED
        where = self._where(q, rng if jittered else None)
        names = [boxes.source_box(where)] if mix.boxes else where
        views = [table.view(picture, n) for n in names] if rng.random() < mix.two_turn else []
        found = [v for v in views if v is not None]
        if len(found) < len(names):
            found = []
        learn = mix.policy and not jittered
        if found or learn:
            self.packer.call(row, q.text, where, found, q.answer, "crop", True, learn)

    def _where(self, question: Question, rng: np.random.Generator | None = None) -> Any:
        """The crops or the box that a question calls for; with ``rng``, a box at a random place."""
        if self.mix.boxes:
            return boxes.target_box(question.evidence, rng)
        return smallest_crops(question.evidence)


def assemble(table: ViewTable, rows: Sequence[Row], targets: int = 64) -> dict[str, Any]:
    """Arrays for ``PackedModel``, from rows of equal length; "units" are the scored spans.

    ``targets`` is the most supervised positions per row.
    """
    length = rows[0].length
    size = targets * len(rows)
    places = np.zeros(size, np.int64)
    wanted = np.zeros(size, np.int64)
    weights = np.zeros(size, np.float32)
    flat_w = np.concatenate([r.weights for r in rows])
    flat_t = np.concatenate([r.targets for r in rows])
    at = np.flatnonzero(flat_w)[:size]
    places[: len(at)], wanted[: len(at)], weights[: len(at)] = at, flat_t[at], flat_w[at]
    return {
        "windows": table.windows,
        "inside": table.inside,
        "ids": np.stack([r.ids for r in rows]),
        "visual": np.stack([r.visual for r in rows]),
        "positions": np.stack([r.positions for r in rows], 1),
        "block": np.stack([r.block for r in rows]),
        "places": places, "targets": wanted, "weights": weights,
        "units": [
            (u.kind, n * length + u.start, n * length + u.stop)
            for n, r in enumerate(rows) for u in r.units
        ],
    }  # fmt: skip


def _kind(view: str, question: Question) -> str:
    """Name under which a direct answer is scored; presence has its own gate."""
    return f"{view} {'presence' if question.kind == 'presence' else question.size}"


def mixed(
    rng: np.random.Generator,
    questions: Sequence[Question],
    count: int,
    weights: tuple[float, float, float],
    first: Collection[str] = (),
) -> list[Question]:
    """Up to ``count`` questions in random order, sizes drawn by ``weights``.

    Within a size, questions whose texts are in ``first`` come before the others.
    """
    shuffled = [questions[int(i)] for i in rng.permutation(len(questions))]
    if rng.random() < SEVERAL:
        shuffled.sort(key=lambda q: len(q.evidence) > 1)  # pools are emptied from the end
    shuffled.sort(key=lambda q: q.text in first)
    pools = {size: [q for q in shuffled if q.size == size] for size in ("small", "large", "none")}
    left = dict(zip(pools, weights, strict=True))
    out: list[Question] = []
    while len(out) < min(count, len(questions)):
        left = {size: w for size, w in left.items() if pools[size]}
        shares = np.array(list(left.values()))
        size = list(left)[int(rng.choice(len(left), p=shares / shares.sum()))]
        out.append(pools[size].pop())
    return out
