"""Outcome labels: which large-text questions the model itself needs a closer look for.

The rule is that of ``awares_edge.training.curate``, on packed rows: a question is hard if the model
is wrong at low resolution and right in full view. Small text always needs a call and is not asked.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from awares_edge.files import whole_file
from awares_edge.synth.sample import Question
from awares_edge.training.errors import TrainingError
from recipes.nano.batches import Batches, assemble
from recipes.nano.loop import stream, to_device
from recipes.nano.packed_model import ARRAYS
from recipes.nano.scores import spans
from recipes.nano.views import ViewTable

LABELS = "outcomes.json"
"""File in a stage's folder: what its start could not read at low resolution."""

VIEWS = ("low", "all")


def is_asked(question: Question) -> bool:
    """Whether low resolution may be enough for this question and a crop could help."""
    return question.size == "large" and bool(question.evidence)


class Asked(Dataset[dict[str, Any]]):
    """Batch ``i`` asks about the pictures of batch ``i`` of ``data`` at both resolutions.

    The kind of a scored span is "<view> <picture index> <question number>".
    """

    def __init__(self, data: Batches) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> dict[str, Any]:
        table, rows = ViewTable(self.data.slots), []
        for index, sample in self.data.pictures(i):
            picture = table.add_picture(sample.picture)
            for name in VIEWS:
                view = table.view(picture, name)
                assert view is not None
                row = self.data.packer.begin(self.data.mix.length, view)
                for number, q in enumerate(sample.questions):
                    if is_asked(q):
                        self.data.packer.direct(row, q.text, q.answer, f"{name} {index} {number}")
                rows.append(row)
        return assemble(table, rows)


@torch.no_grad()
def hard_questions(
    forward: Callable[..., tuple[Any, Any, torch.Tensor]],
    data: Batches,
    batches: int,
    device: torch.device,
    workers: int = 1,
    progress: Callable[[int], None] = lambda _done: None,
) -> dict[int, list[int]]:
    """Numbers of the hard questions by picture index, over the first ``batches`` of ``data``.

    ``forward`` is a ``PackedModel``. An answer is right if each of its tokens is the most likely
    one after those before it, that is, if greedy decoding would produce it.
    """
    hard: dict[int, list[int]] = defaultdict(list)
    for done, batch in enumerate(stream(Asked(data), 0, batches, workers), 1):
        batch = to_device(batch, device)
        predicted = forward(**{k: batch[k] for k in ARRAYS})[2].cpu().numpy()
        right = {kind: bool(hits.all()) for kind, _, hits in spans(batch, predicted)}
        for kind, low in right.items():
            view, index, number = kind.split()
            if view == "low" and not low and right.get(f"all {index} {number}"):
                hard[int(index)].append(int(number))
        progress(done)
    return dict(hard)


def write_labels(path: Path, hard: Mapping[int, Sequence[int]]) -> None:
    """Write the result of ``hard_questions`` atomically."""
    with whole_file(path) as file:
        file.write(json.dumps(hard).encode())


def read_labels(path: Path) -> dict[int, list[int]]:
    """Read labels written by ``write_labels``.

    Raises:
        TrainingError: the file at ``path`` is not a labels file.
    """
    try:
        return {int(k): list(v) for k, v in json.loads(path.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} is not a labels file: remove it to make the labels again"
        ) from error
