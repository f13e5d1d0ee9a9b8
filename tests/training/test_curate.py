"""Curation: oracles, crop rules, resuming, and rows that cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from awares_edge.errors import ContextOverflow, EndpointError, ImageError
from awares_edge.lines import MAX_LINE
from awares_edge.training.crop_rules import BoxF, coverage, crops_for, iou
from awares_edge.training.curate import CurationReport, curate
from awares_edge.training.endpoint import MOST_UNUSABLE
from awares_edge.training.errors import ReplyError, TrainingError
from awares_edge.training.judges import ExactJudge
from awares_edge.training.oracles import KnownBoxes, Oracle, parse_boxes
from awares_edge.training.trajectories import (
    Row,
    open_image,
    read_rows,
    read_trajectories,
    synthetic_rows,
)


def _small_text_fails(_image: Image.Image, question: str) -> tuple[str, str]:
    return ("?", "K47") if "label" in question else ("red", "red")


ROWS = [
    Row("a", "p.png", "What is the label?", "K47", ((10, 10, 60, 40),)),
    Row("b", "p.png", "What color?", "red", ((10, 10, 60, 40),)),
    Row("c", "p.png", "What is the label?", "K47", ((90, 90, 130, 130),)),
    Row("d", "gone.png", "What color?", "red"),
    Row("e", "p.png", "What is the label?", "K47"),
    Row("f", "p.png", "What is the label?", "K47", ((300, 10, 400, 40),)),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (224, 224), "white").save(tmp_path / "p.png")
    return tmp_path


def test_labels_come_from_outcomes_and_crops_from_evidence(folder: Path) -> None:
    out = folder / "t.jsonl"
    reported: list[str] = []
    report = CurationReport(reported.append)
    rows = [*ROWS, replace(ROWS[1], question="again?")]
    curate(rows, folder, out, _small_text_fails, ExactJudge(), KnownBoxes(), report=report)
    found = list(read_trajectories(out, pytest.fail))
    assert [(t.id, t.label, t.crops) for t in found] == [
        ("a", "HR", ("0",)),
        ("b", "LR", ()),
        ("c", "HR", ("4",)),
    ]
    assert report.labels == {"LR": 1, "HR": 2}
    assert report.skipped == len(reported) == 4
    assert "gone.png" in reported[0]
    assert reported[1].startswith("e: needs a closer look")
    assert reported[2].startswith("f: needs a closer look")  # its box lies outside the picture
    assert reported[3] == "b: another row has this id"


def test_a_damaged_picture_costs_its_row_and_is_named(folder: Path) -> None:
    data = (folder / "p.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "eps.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    bad = [Row(name, name, "What color?", "red") for name in ("cut.png", "eps.jpg", "gone.png")]
    out = folder / "t.jsonl"
    report = curate([*bad, ROWS[1]], folder, out, _small_text_fails, ExactJudge(), KnownBoxes())
    assert (report.kept, report.skipped) == (1, 3)
    listed = json.loads((folder / "t.jsonl.skipped.json").read_text())
    assert listed == {"skipped": 3, "rows": report.reasons}
    for row, reason in zip(bad, report.reasons, strict=True):
        assert reason.startswith(f"{row.id}: ")
    # They are tried again, and the list goes with them.
    for row in bad:
        (folder / row.image).write_bytes(data)
    again = curate([*bad, ROWS[1]], folder, out, _small_text_fails, ExactJudge(), KnownBoxes())
    assert (again.kept, again.resumed, again.skipped) == (3, 1, 0)
    assert not (folder / "t.jsonl.skipped.json").exists()


def test_a_run_resumes_after_a_cut_line(folder: Path) -> None:
    out = folder / "t.jsonl"
    curate(ROWS, folder, out, _small_text_fails, ExactJudge(), KnownBoxes())
    whole = out.read_text()
    lines = whole.splitlines(keepends=True)
    out.write_text(lines[0] + lines[1][:30])
    asked = []

    def answer(image: Image.Image, question: str) -> tuple[str, str]:
        asked.append(question)
        return _small_text_fails(image, question)

    report = curate(ROWS, folder, out, answer, ExactJudge(), KnownBoxes())
    assert out.read_text() == whole
    assert report.resumed == 1
    assert len(asked) == 4  # b, c and those without crops


def test_pictures_are_found_from_wherever_the_trajectories_lie(folder: Path) -> None:
    out = folder / "runs" / "one" / "t.jsonl"
    out.parent.mkdir(parents=True)
    whole = folder / "p.png"
    rows = [ROWS[0], Row("abs", str(whole), "What color?", "red"), *synthetic_rows("train", 0, 1)]
    curate(rows, folder, out, lambda *_: ("red", "K47"), ExactJudge(), KnownBoxes())
    found = list(read_trajectories(out, pytest.fail))
    assert [t.image for t in found] == ["../../p.png", str(whole), "synth:train:0:0"]
    assert open_image(found[0].image, out.parent).size == (224, 224)


class _Silent(Oracle):
    name = "silent"

    def boxes(self, *_: object) -> list[BoxF]:
        raise ReplyError("no box in it")


def test_an_unusable_reply_costs_its_row_and_many_end_the_run(folder: Path) -> None:
    out = folder / "t.jsonl"
    reported: list[str] = []
    report = CurationReport(reported.append)
    curate(ROWS[:3], folder, out, _small_text_fails, ExactJudge(), _Silent(), report=report)
    assert report.kept == 1
    assert reported == ["a: no box in it", "c: no box in it"]
    many = [Row(str(n), "p.png", "What is the label?", "K47") for n in range(MOST_UNUSABLE)]
    with pytest.raises(EndpointError, match="replies in a row"):
        curate(many, folder, out, _small_text_fails, ExactJudge(), _Silent())


def test_an_output_that_is_something_else_is_not_changed(folder: Path) -> None:
    row = json.dumps({"id": "a", "image": "p.png", "question": "Q?", "answer": "A"})
    for text in ("my precious notes", row, row + "\n" + row, "[]\n"):
        out = folder / "notes.txt"
        out.write_text(text)
        with pytest.raises(TrainingError, match="holds lines that are not trajectories"):
            curate(ROWS[:1], folder, out, _small_text_fails, ExactJudge(), KnownBoxes())
        assert out.read_text() == text
    for out in (folder, folder / "gone" / "t.jsonl"):
        with pytest.raises(TrainingError, match="give another output"):
            curate(ROWS[:1], folder, out, _small_text_fails, ExactJudge(), KnownBoxes())


def test_a_last_line_without_a_newline_is_kept(folder: Path) -> None:
    out = folder / "t.jsonl"
    curate(ROWS[:2], folder, out, _small_text_fails, ExactJudge(), KnownBoxes())
    whole = out.read_text()
    out.write_text(whole.rstrip("\n"))
    report = curate(ROWS[:2], folder, out, _small_text_fails, ExactJudge(), KnownBoxes())
    assert (report.resumed, report.kept) == (2, 0)
    assert out.read_text() == whole


def test_a_question_too_long_for_the_model_costs_its_row(folder: Path) -> None:
    def full(_image: Image.Image, _question: str) -> tuple[str, str]:
        raise ContextOverflow("the question does not fit")

    out = folder / "t.jsonl"
    report = curate(ROWS[:3], folder, out, full, ExactJudge(), KnownBoxes())
    assert (report.kept, report.skipped) == (0, 3)


def test_rows_without_an_id_get_one_of_their_content(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"image": "p.png", "question": q, "answer": "A", "id": None} for q in ("Q?", "R?")]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    first = [r.id for r in read_rows(path, pytest.fail)]
    path.write_text("".join(json.dumps(r) + "\n" for r in reversed(rows)))
    assert [r.id for r in read_rows(path, pytest.fail)] == first[::-1]
    assert len(set(first)) == 2


@pytest.mark.parametrize(
    "name", ["synth:train:0:\u00b2", "synth:train:0:" + "9" * 5000, "synth:gone:0:0", "x" * 5000]
)
def test_names_that_are_not_pictures_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        open_image(name, tmp_path)


def test_bad_rows_are_reported_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = {"image": "p.png", "question": "Q?", "answer": "A", "boxes": [[0, 0, 5, 5]]}
    bad = [
        "{",
        "[1]",
        json.dumps({**good, "answer": ""}),
        json.dumps({**good, "boxes": [[5, 5, 1, 1]]}),
        json.dumps({**good, "boxes": 3}),
        json.dumps({**good, "boxes": [[0, 0, float("inf"), 5]]}),
        json.dumps({**good, "boxes": [[0, 0, 10**400, 5]]}),
        json.dumps({**good, "answer": "x\ud800"}),
        json.dumps({**good, "id": ["a"]}),
    ]
    long = json.dumps({**good, "answer": "A" * MAX_LINE})
    bad += ["[" * 100_000, long, "x" * (3 * MAX_LINE)]
    lines = [json.dumps(good), "", *bad, json.dumps({**good, "id": "last"}) + "\r"]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    reasons: list[str] = []
    rows = list(read_rows(path, reasons.append))
    assert [r.id for r in rows][1:] == ["last"]
    assert rows[0].boxes == ((0, 0, 5, 5),)
    assert len(reasons) == len(bad)
    assert all(r.startswith("rows.jsonl, line ") for r in reasons)


def test_crop_rules() -> None:
    size = (224, 224)
    small = (10.0, 10.0, 40.0, 30.0)
    assert crops_for([small], size) == ("0",)
    # The published rule finds nothing for a small box.
    assert crops_for([small], size, rule="iou") == ()
    assert crops_for([(0, 0, 112, 100)], size, rule="iou") == ("0",)
    assert crops_for([(0, 0, 224, 224)], size, rule="iou") == ("all",)
    assert crops_for([small, (180, 180, 210, 200)], size) == ("0", "3")
    assert crops_for([(5, 5, 220, 220)], size) == ("all",)
    assert crops_for([], size) == ()
    assert coverage(small, (0, 0, 25, 224)) == pytest.approx(0.5)
    assert iou(small, small) == 1.0
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0


def test_oracle_boxes_are_read_in_every_form() -> None:
    size = (200, 100)
    assert parse_boxes('```json\n[{"bbox_2d": [100, 200, 500, 400]}]\n```', size) == [
        (20, 20, 100, 40)
    ]
    assert parse_boxes("the box is [0, 0, 1000, 1000].", size) == [(0, 0, 200, 100)]
    assert parse_boxes("[[0,0,10,10],[900,900,800,950]]", size) == [(0, 0, 2, 1)]
    assert parse_boxes("none", size) == []
    assert parse_boxes("[1.2.3, 0, 10, 10]", size) == []
    assert parse_boxes("[[NaN, 0, 500, 500]]", size) == [(0, 0, 100, 50)]
    assert parse_boxes("[" * 100_000, size) == []
    assert parse_boxes(f"[[0, 0, {10**400}, 5]]", size) == [(0, 0, 200, 0.5)]


def test_synthetic_rows_name_pictures_that_can_be_drawn_again(tmp_path: Path) -> None:
    rows = list(synthetic_rows("validation", 3, 12))
    assert len({r.id for r in rows}) == 12

    def nothing(_image: Image.Image, _question: str) -> tuple[str, str]:
        return "", ""

    report = curate(rows, tmp_path, tmp_path / "t.jsonl", nothing, ExactJudge(), KnownBoxes())
    assert report.kept == 12
    assert report.labels["HR"] == 0  # equally wrong twice: a tie
