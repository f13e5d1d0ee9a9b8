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

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from PIL import Image

from awares_edge.errors import ImageError
from awares_edge.lines import bounded_lines, parse_line, place, too_long
from awares_edge.protocol import CROP_NAMES
from awares_edge.protocol.crops import WHOLE
from awares_edge.synth.generate import SPLITS, Split, generate
from awares_edge.training.crop_rules import BoxF
from awares_edge.training.errors import TrainingError
from awares_edge.vision import load_image

SYNTH = "synth:"
Skip = Callable[[str], None]
"""Called with each bad row's file, line and reason: "rows.jsonl, line 3: no answer"."""
T = TypeVar("T")


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
    """A curated row: what the model should do, and how that was decided."""

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
    if (
        len(parts) != 3
        or parts[0] not in SPLITS
        or not all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts[1:])
    ):
        raise ImageError(
            f"{name!r} does not name a synthetic picture: write {SYNTH}SPLIT:SEED:INDEX"
        )
    sample = generate(parts[0], int(parts[1]), int(parts[2]))
    return Image.fromarray(sample.picture)


def moved(name: str, source: Path, target: Path) -> str:
    """The name, relative to ``target``, of the picture that is ``name`` relative to ``source``."""
    if name.startswith(SYNTH) or Path(name).is_absolute():
        return name
    return Path(os.path.relpath(source / name, target)).as_posix()


def read_rows(path: Path, skip: Skip) -> Iterator[Row]:
    """Rows of the user's own JSONL; bad ones are reported and left out.

    Raises:
        TrainingError: no such file.
    """
    return _read(path, skip, _row)


def read_trajectories(path: Path, skip: Skip) -> Iterator[Trajectory]:
    """Trajectories of a curated JSONL; bad ones are reported and left out.

    Raises:
        TrainingError: no such file.
    """
    return _read(path, skip, _trajectory)


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


def _read(path: Path, skip: Skip, parse: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    if not path.is_file():
        raise TrainingError(f"no such file: {path}")

    def parsed() -> Iterator[T]:
        with path.open("rb") as file:
            for number, line in bounded_lines(file):
                try:
                    if line is None:
                        raise too_long("the row")
                    yield parse(parse_line(line, "the row"))
                except ValueError as error:
                    skip(f"{place(path.name, number)}: {error}")

    return parsed()


def _row(value: dict[str, Any]) -> Row:
    texts = (_text(value, "image"), _text(value, "question"), _text(value, "answer"))
    name = value.get("id")
    if name is None:  # from the content: line numbers would change with the file
        name = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    elif not isinstance(name, int):
        name = _text(value, "id")
    return Row(str(name), *texts, _boxes(value.get("boxes", [])))


def _trajectory(value: dict[str, Any]) -> Trajectory:
    label = value.get("label")
    if label not in ("LR", "HR"):
        raise ValueError(f"label is {label!r}, not LR or HR")
    crops = _crops(value.get("crops", []))
    if (label == "HR") != bool(crops):
        raise ValueError("an HR row needs crops and an LR row has none")
    names = ("low_answer", "full_answer", "judge", "oracle", "rule")
    notes: dict[str, Any] = {name: str(value.get(name, "")) for name in names}
    return Trajectory(**asdict(_row(value)), label=label, crops=crops, **notes)


def _text(value: dict[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"no {key}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the {key} is not valid Unicode") from error
    return text


def _crops(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(c, str) and c in CROP_NAMES for c in value
    ):
        raise ValueError(f"crops must be a list of {', '.join(CROP_NAMES)}")
    crops = tuple(str(c) for c in value)
    if len(set(crops)) != len(crops) or (WHOLE in crops and len(crops) > 1):
        raise ValueError("a crop is listed twice, or together with the whole picture")
    return crops


def _boxes(value: Any) -> tuple[BoxF, ...]:
    try:
        boxes = [tuple(float(v) for v in box) for box in value]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("boxes must be lists of four numbers") from error
    if not all(
        len(b) == 4 and all(map(isfinite, b)) and b[0] < b[2] and b[1] < b[3] for b in boxes
    ):
        raise ValueError("a box must be (left, top, right, bottom) with an area above 0")
    return cast("tuple[BoxF, ...]", tuple(boxes))
