"""One question's result, as a line of `rows.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

from awares_edge.controller.trace import Answer
from awares_edge.errors import InputError
from awares_edge.protocol.budget import VisualTokens
from awares_edge.schema import Items, Limits, Text, Whole, parse_json, read_dataclass

MAX_LINE = 1 << 24

_LONG = Text(0, 1 << 22)
_LIMITS: Limits = {
    "index": Whole(0, 1 << 40),
    "id": _LONG,
    "reason": _LONG,
    "prediction": _LONG,
    "references": Items(0, 1 << 16),
    "references[]": _LONG,
    "facts[]": _LONG,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one row of the data.

    Attributes:
        index: of the row in its suite, from 0.
        status: "failed" where the data is malformed or could not be asked; `reason` says why.
        score: from 0 to 1; None where it failed.
        crops, boxes: ids of the crops that were sent, and their pixels in the picture.
        call_status: of the model's call: none, ok, repaired or invalid.
        visual_tokens: spent, and the cost of the whole picture; None where it failed.
        rtr: retained-token ratio; pixel_ratio: what the released evaluator reports in its place.
        ms: wall time of the question; decoding the picture is not part of it.
    """

    index: int
    id: str
    status: Literal["ok", "failed"]
    reason: str = ""
    prediction: str = ""
    references: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    score: float | None = None
    crops: tuple[str, ...] = ()
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    call_status: str = "none"
    visual_tokens: VisualTokens | None = None
    rtr: float | None = None
    pixel_ratio: float | None = None
    ms: float | None = None

    @classmethod
    def answered(
        cls,
        index: int,
        name: str,
        answer: Answer,
        prediction: str,
        references: tuple[str, ...],
        facts: dict[str, str],
        score: float,
    ) -> Row:
        """A row with what the answer says of crops, tokens and time."""
        return cls(
            index,
            name,
            "ok",
            prediction=prediction,
            references=references,
            facts=facts,
            score=score,
            crops=tuple(crop.id for crop in answer.crops),
            boxes=tuple(crop.box for crop in answer.crops),
            call_status=answer.call_status,
            visual_tokens=answer.visual_tokens,
            rtr=round(answer.rtr, 6),
            pixel_ratio=round(answer.pixel_ratio, 6),
            ms=round(answer.total_ms, 3),
        )

    def to_line(self) -> bytes:
        """One line of ASCII JSON."""
        # Not `asdict`, whose deep copy would take half of a row's time.
        values = {name: getattr(self, name) for name in _FIELDS}
        if self.visual_tokens is not None:
            values["visual_tokens"] = asdict(self.visual_tokens)
        return json.dumps(values, allow_nan=False).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes, where: str) -> Row:
        """The row of a line.

        Raises:
            InputError: it is not one.
        """
        try:
            text = line.decode("ascii")
        except UnicodeDecodeError as error:
            raise InputError(f"{where} is not ASCII") from error
        return read_dataclass(cls, parse_json(text, where), where, _LIMITS)


_FIELDS = tuple(field.name for field in fields(Row))


def read_rows(path: Path) -> Iterator[Row]:
    """The complete rows of a file, in order; an incomplete last line is left out.

    Raises:
        InputError: the file cannot be read, or a line is not a row.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
                if line.endswith(b"\n"):
                    yield Row.from_line(line, f"{path}, line {number}")
                elif len(line) > MAX_LINE:
                    raise InputError(f"{path}, line {number} is over {MAX_LINE:,} bytes")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
