"""Frames with their questions and answers, written down for curation and evaluation.

    DIR/questions.jsonl     one line an answer
    DIR/frames/000001.jpg   the picture that the model was given, before its own low-res view

`awares-edge evaluate`, `train curate` and `importance` read the lines. Their answers are the
model's own: correct them first.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from PIL import Image

from awares_edge.camera.exchange import Exchange
from awares_edge.camera.frames import Pixels
from awares_edge.errors import InputError
from awares_edge.files import check_output_folder, whole_file

LINES = "questions.jsonl"
FRAMES = "frames"
_QUALITY = 95


class Recording:
    """A folder that grows by one frame and one line an answer; one that is there is continued.

    Attributes:
        count: answers that were added.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: it cannot be written to.
        """
        check_output_folder(folder)
        self.folder = folder
        self.count = 0
        self._next = 1 + max(
            (int(p.stem) for p in (folder / FRAMES).glob("*.jpg") if p.stem.isdecimal()), default=0
        )
        self._frame: tuple[int, str] | None = None

    def add(self, exchange: Exchange, pixels: Pixels) -> None:
        """Write an exchange that ended with an answer, and the picture it is about.

        Empty answers are left out: there is nothing to correct. Questions about one frame share a
        picture.

        Raises:
            InputError: it cannot be written; what was written before stays.
        """
        if not (exchange.withheld or exchange.answer).strip():
            return
        try:
            image = self._picture(exchange.frame, pixels)
            line = json.dumps(self._row(exchange, image), ensure_ascii=False)
            with (self.folder / LINES).open("a", encoding="utf-8", newline="\n") as file:
                file.write(line + "\n")
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"cannot record to {self.folder}: {reason}") from error
        self.count += 1

    def _picture(self, frame: int, pixels: Pixels) -> str:
        """Where the picture is, relative to the folder."""
        if self._frame is not None and self._frame[0] == frame:
            return self._frame[1]
        name = f"{FRAMES}/{self._next:06d}.jpg"
        with whole_file(self.folder / name) as file:
            Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY, subsampling=0)
        self._next += 1
        self._frame = (frame, name)
        return name

    def _row(self, exchange: Exchange, image: str) -> dict[str, Any]:
        at = datetime.fromtimestamp(exchange.asked_at, timezone.utc)
        stem = Path(image).stem
        row: dict[str, Any] = {
            "id": f"{stem}-{exchange.id}",
            "image": image,
            "question": exchange.question,
            "answer": exchange.withheld or exchange.answer,
            "path": exchange.path,
            "time": at.isoformat(timespec="milliseconds"),
        }
        ids = [region.id for region in exchange.regions]
        if all(ids):  # of the fixed crop set
            row["crops"] = ids
        return row
