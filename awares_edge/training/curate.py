"""Curation: when to look closer, from outcomes; where, from an oracle's evidence.

For every row the model answers at low and at full resolution; a judge compares both
answers with the reference. On a tie, or where the low-resolution answer is right, the
label is LR (answer at once). Otherwise it is HR, with the crops that contain the oracle's
boxes under a named rule. Each row is appended when it is done, so an interrupted run
resumes where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from awares_edge.errors import ContextOverflow, ImageError, QuestionError
from awares_edge.training.crop_rules import CropRule, crops_for, intersection
from awares_edge.training.endpoint import Patience
from awares_edge.training.errors import ReplyError, TrainingError
from awares_edge.training.judges import Judge
from awares_edge.training.oracles import Oracle
from awares_edge.training.skipped import listed
from awares_edge.training.trajectories import (
    Row,
    Trajectory,
    moved,
    open_image,
    read_trajectories,
)

_START = b'{"id": "'


class Answerer(Protocol):
    """Answers one question at low and at full resolution."""

    def __call__(self, image: Image.Image, question: str) -> tuple[str, str]: ...


@dataclass
class CurationReport:
    """Counts of a run; ``tell`` is called with the id and reason of each row that is left out.

    Attributes:
        resumed: rows that the output held already.
        reasons: what ``tell`` was called with.
    """

    tell: Callable[[str], None] = lambda _reason: None
    kept: int = 0
    resumed: int = 0
    labels: dict[str, int] = field(default_factory=lambda: {"LR": 0, "HR": 0})
    reasons: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> int:
        """Rows that were left out."""
        return len(self.reasons)

    def skip(self, reason: str) -> None:
        """Count a row that is left out."""
        self.reasons.append(reason)
        self.tell(reason)


def curate(
    rows: Iterable[Row],
    folder: Path,
    out: Path,
    answer: Answerer,
    judge: Judge,
    oracle: Oracle,
    *,
    rule: CropRule = "coverage",
    threshold: float | None = None,
    report: CurationReport | None = None,
    progress: Callable[[CurationReport], None] = lambda _report: None,
) -> CurationReport:
    """Label ``rows`` (image paths relative to ``folder``) and append them to ``out``.

    Rows that ``out`` holds are not done again. Paths are written relative to ``out``. Rows that
    cannot be used are counted, and listed in ``<name>.skipped.json`` beside it.

    Raises:
        EndpointError: a judge or oracle server cannot be reached, or gives no usable reply; the
            rows written so far are kept.
        TrainingError: ``out`` is a file of something else, or its folder does not exist.
    """
    report = report or CurationReport()
    there = finished(out)
    new: set[str] = set()
    patience = Patience()
    listing = out.with_name(f"{out.name}.skipped.json")
    with listed(report.reasons, listing), out.open("a", encoding="utf-8") as file:
        for row in rows:
            if row.id in new:
                report.skip(f"{row.id}: another row has this id")
                continue
            if row.id in there:
                report.resumed += 1
                continue
            try:
                trajectory = label_row(
                    row, folder, answer, judge, oracle, rule=rule, threshold=threshold
                )
            except (ReplyError, ImageError, QuestionError, ContextOverflow) as error:
                if isinstance(error, ReplyError):
                    patience.lost(error)
                report.skip(f"{row.id}: {error}")
                continue
            patience.used()
            if trajectory is None:
                report.skip(
                    f"{row.id}: needs a closer look, but oracle {oracle.name!r} and rule {rule!r} "
                    "find no crop"
                )
                continue
            new.add(row.id)
            here = moved(row.image, folder, out.parent)
            file.write(replace(trajectory, image=here).to_json() + "\n")
            file.flush()
            report.kept += 1
            report.labels[trajectory.label] += 1
            progress(report)
    return report


def label_row(
    row: Row,
    folder: Path,
    answer: Answerer,
    judge: Judge,
    oracle: Oracle,
    *,
    rule: CropRule = "coverage",
    threshold: float | None = None,
) -> Trajectory | None:
    """The trajectory of one row; None if it needs crops and the rule finds none."""
    image = open_image(row.image, folder)
    low, full = answer(image, row.question)
    zoom = judge.needs_zoom(row.question, row.answer, low, full)
    crops: tuple[str, ...] = ()
    boxes = list(row.boxes)
    if zoom:
        boxes = oracle.boxes(image, row.question, row.answer, row.boxes)
        inside = all(intersection(box, (0, 0, *image.size)) > 0 for box in boxes)
        crops = crops_for(boxes, image.size, rule=rule, threshold=threshold) if inside else ()
        if not crops:
            return None
    return Trajectory(
        id=row.id,
        image=row.image,
        question=row.question,
        answer=row.answer,
        label="HR" if zoom else "LR",
        crops=crops,
        boxes=tuple(boxes),
        low_answer=low,
        full_answer=full,
        judge=judge.name,
        oracle=oracle.name if zoom else "",
        rule=rule if zoom else "",
    )


def finished(out: Path) -> set[str]:
    """Ids of the trajectories in ``out``; an incomplete last line is removed.

    Raises:
        TrainingError: it holds anything else; the file is not changed.
    """
    if not out.parent.is_dir() or out.is_dir():
        raise TrainingError(f"{out} is not a file in an existing folder: give another output")
    if not out.exists():
        return set()
    strange: list[str] = []
    ids = {t.id for t in read_trajectories(out, strange.append)}
    data = out.read_bytes()
    end = data.rfind(b"\n") + 1
    tail = data[end:]
    torn = bool(tail) and tail.startswith(_START[: len(tail)]) and not tail.endswith(b"}")
    if len(strange) > torn:
        raise TrainingError(
            f"{out} holds lines that are not trajectories ({strange[0]}): give another output"
        )
    if torn:
        os.truncate(out, end)
    elif tail:
        with out.open("ab") as file:
            file.write(b"\n")
    return ids
