"""A file of trajectories written as a folder that another project trains on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from awares_edge.errors import ImageError, InputError, QuestionError
from awares_edge.files import whole_folder
from awares_edge.protocol import ProtocolProfile
from awares_edge.training.errors import TrainingError
from awares_edge.training.formats.base import Format
from awares_edge.training.formats.messages import check_profile, messages_of
from awares_edge.training.skipped import SKIPPED, save_skipped
from awares_edge.training.trajectories import Trajectory, open_image
from awares_edge.vision import Preprocessing

_IMAGES = "images"


@dataclass
class ConversionReport:
    """Counts of a conversion; ``tell`` is called with each row that is left out, and why."""

    tell: Callable[[str], None] = lambda _reason: None
    written: int = 0
    calls: int = 0
    pictures: int = 0
    reasons: list[str] = field(default_factory=list)

    def skip(self, reason: str) -> None:
        """Count a row that is left out."""
        self.reasons.append(reason)
        self.tell(reason)


def convert(
    rows: Iterable[Trajectory],
    folder: Path,
    out: Path,
    form: Format,
    profile: ProtocolProfile,
    *,
    preprocessing: Preprocessing | None = None,
    tool_weight: float = 5.0,
    report: ConversionReport | None = None,
) -> ConversionReport:
    """Write ``rows`` (image paths relative to ``folder``) to the new folder ``out``.

    Pictures go to ``out/images`` as PNG, each once, named by their pixels. Rows that cannot be used
    are counted in the report and listed in ``out/skipped.json``.

    Raises:
        InputError: ``out`` exists, or chat messages cannot express the profile.
        TrainingError: no row can be used; nothing is written.
    """
    check_profile(profile)
    if os.path.lexists(out):
        raise InputError(f"{out} exists: choose another folder")
    report = report or ConversionReport()
    with whole_folder(out) as staging:
        (staging / _IMAGES).mkdir()
        pictures = _Pictures(staging)
        with (staging / form.rows_file).open("wb") as file:
            for row in rows:
                try:
                    image = open_image(row.image, folder)
                    messages = messages_of(
                        row, image, profile, preprocessing or Preprocessing(), tool_weight
                    )
                    form.check(messages)
                except (ImageError, QuestionError, TrainingError) as error:
                    report.skip(f"{row.id}: {error}")
                    continue
                shown = [picture for message in messages for picture in message.pictures]
                _write(file, form.row(row.id, messages, [pictures.save(p) for p in shown]))
                report.written += 1
                report.calls += bool(row.crops)
        if not report.written:
            raise TrainingError(f"no trajectory can be written as {form.name}")
        for name, text in form.extra_files().items():
            (staging / name).write_text(text, encoding="utf-8")
        save_skipped(report.reasons, staging / SKIPPED)
        report.pictures = pictures.count
    return report


class _Pictures:
    """Saves each picture once.

    Attributes:
        count: of pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()

    @property
    def count(self) -> int:
        return len(self._names)

    def save(self, picture: Image.Image) -> str:
        """Path of the picture, relative to the folder."""
        data = f"{picture.size}".encode() + picture.tobytes()
        name = f"{_IMAGES}/{hashlib.sha256(data).hexdigest()[:24]}.png"
        if name not in self._names:
            picture.save(self._folder / name)
            self._names.add(name)
        return name


def _write(file: BinaryIO, value: object) -> None:
    file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
