"""Outcome labels, densely: which questions a model needs a closer look for, told by its answers.

Curation's rule (``training.curate``) on packed rows: a question is hard if the model answers it
wrongly at low resolution and rightly in full view. Small text is hard by its size and is not asked.
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
from awares_edge.training.nano.batches import Batches, assemble
from awares_edge.training.nano.loop import stream, to_device
from awares_edge.training.nano.packed_model import ARRAYS
from awares_edge.training.nano.scores import spans
from awares_edge.training.nano.views import ViewTable

LABELS = "outcomes.json"
"""In a stage's folder: what its start could not read at low resolution."""

VIEWS = ("low", "all")


def is_asked(question: Question) -> bool:
    """May low resolution be enough for it, and could a crop help?"""
    return question.size == "large" and bool(question.evidence)


class Asked(Dataset[dict[str, Any]]):
    """Batch ``i`` asks about the pictures of batch ``i`` of ``data`` at both resolutions.

    The kind of a scored span is view, picture index and question number.
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
    """Numbers of the hard questions by picture, over the first ``batches`` of ``data``.

    ``forward`` is a `PackedModel`; an answer counts as right if each of its tokens is the likeliest
    after those before it, which is when greedy decoding gives it.
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
    """Keep what `hard_questions` found, whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(hard).encode())


def read_labels(path: Path) -> dict[int, list[int]]:
    """
    Raises:
        TrainingError: what is at ``path`` are no labels.
    """
    try:
        return {int(k): list(v) for k, v in json.loads(path.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path} holds no labels: remove it, to ask again") from error
