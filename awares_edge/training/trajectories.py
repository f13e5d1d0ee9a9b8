"""Trajectories: the JSONL that curation writes and SFT reads, and the rows that curation reads.

Input row (one JSON object a line)::

    {"id": "...", "image": "file.png", "question": "...", "answer": "...",
     "boxes": [[x0, y0, x1, y1], ...]}            boxes in pixels, optional

Trajectory row: the same, and ``label`` ("LR" or "HR"), ``crops`` (ids, empty for LR),
``low_answer``, ``full_answer``, ``judge``, ``oracle``, ``rule``. Relative image paths
are taken from the file's own folder. Synthetic pictures are named
``synth:SPLIT:SEED:INDEX`` and drawn again when they are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from PIL import Image

from awares_edge.errors import ImageError
from awares_edge.synth.generate import SPLITS, Split, generate
from awares_edge.training.crop_rules import BoxF
from awares_edge.training.errors import TrainingError
from awares_edge.vision import load_image

SYNTH = "synth:"
Skip = Callable[[str], None]
"""Told of every bad row: file, line, reason."""


@dataclass(frozen=True)
class Row:
    """A question about a picture with its reference answer."""

    id: str
    image: str
    question: str
    answer: str
    boxes: tuple[BoxF, ...] = ()


@dataclass(frozen=True)
class Trajectory:
    """A curated row: what the model should do, and how that was found."""

    id: str
    image: str
    question: str
    answer: str
    label: Literal["LR", "HR"]
    crops: tuple[str, ...] = ()
    boxes: tuple[BoxF, ...] = ()
    low_answer: str = ""
    full_answer: str = ""
    judge: str = ""
    oracle: str = ""
    rule: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def open_image(name: str, folder: Path) -> Image.Image:
    """The picture that a row names.

    Raises:
        ImageError: it cannot be read.
    """
    if not name.startswith(SYNTH):
        path = Path(name)
        return load_image(path if path.is_absolute() else folder / path)
    parts = name[len(SYNTH) :].split(":")
    if len(parts) != 3 or parts[0] not in SPLITS or not all(p.isdigit() for p in parts[1:]):
        raise ImageError(f"{name!r} is no synthetic picture: write {SYNTH}SPLIT:SEED:INDEX")
    sample = generate(parts[0], int(parts[1]), int(parts[2]))
    return Image.fromarray(sample.picture)


def read_rows(path: Path, skip: Skip) -> Iterator[Row]:
    """Rows of the user's own JSONL; bad ones are reported and left out."""
    for number, value in _lines(path, skip):
        try:
            yield Row(
                id=str(value.get("id", number)),
                image=_text(value, "image"),
                question=_text(value, "question"),
                answer=_text(value, "answer"),
                boxes=_boxes(value.get("boxes", [])),
            )
        except ValueError as error:
            skip(f"{path.name}:{number}: {error}")


def read_trajectories(path: Path, skip: Skip) -> Iterator[Trajectory]:
    """Trajectories of a curated JSONL; bad ones are reported and left out."""
    for number, value in _lines(path, skip):
        try:
            label = value.get("label")
            if label not in ("LR", "HR"):
                raise ValueError(f"label is {label!r}, not LR or HR")
            crops = tuple(str(c) for c in value.get("crops", []))
            if (label == "HR") != bool(crops):
                raise ValueError("an HR row needs crops and an LR row has none")
            yield Trajectory(
                id=str(value.get("id", number)),
                image=_text(value, "image"),
                question=_text(value, "question"),
                answer=_text(value, "answer"),
                label=label,
                crops=crops,
                boxes=_boxes(value.get("boxes", [])),
                **{
                    k: str(value.get(k, ""))
                    for k in ("low_answer", "full_answer", "judge", "oracle", "rule")
                },
            )
        except ValueError as error:
            skip(f"{path.name}:{number}: {error}")


def synthetic_rows(split: Split, seed: int, count: int) -> Iterator[Row]:
    """Rows of the synthetic suite with their exact evidence."""
    given = index = 0
    while given < count:
        for n, q in enumerate(generate(split, seed, index).questions):
            if given == count:
                return
            name = f"{SYNTH}{split}:{seed}:{index}"
            boxes = tuple(tuple(float(v) for v in box) for box in q.evidence)
            yield Row(f"{name}:{n}", name, q.text, q.answer, cast("tuple[BoxF, ...]", boxes))
            given += 1
        index += 1


def _lines(path: Path, skip: Skip) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise TrainingError(f"no such file: {path}")
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError:
                skip(f"{path.name}:{number}: not JSON (cut off?)")
                continue
            if isinstance(value, dict):
                yield number, value
            else:
                skip(f"{path.name}:{number}: not a JSON object")


def _text(value: dict[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"no {key}")
    return text


def _boxes(value: Any) -> tuple[BoxF, ...]:
    try:
        boxes = [tuple(float(v) for v in box) for box in value]
    except (TypeError, ValueError) as error:
        raise ValueError("boxes are not lists of four numbers") from error
    if any(len(b) != 4 or b[2] <= b[0] or b[3] <= b[1] for b in boxes):
        raise ValueError("a box is not (left, top, right, bottom) with an area")
    return cast("tuple[BoxF, ...]", tuple(boxes))
