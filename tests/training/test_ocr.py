"""The OCR oracle: where the answer's text stands."""

from __future__ import annotations

import pytest
from PIL import Image

from awares_edge import extras
from awares_edge.errors import RuntimeUnavailable
from awares_edge.synth import generate
from awares_edge.training.crop_rules import intersection
from awares_edge.training.curate import curate
from awares_edge.training.judges import ExactJudge
from awares_edge.training.ocr import Line, OcrOracle, locate
from awares_edge.training.trajectories import Row, read_trajectories

LINES = [
    Line("Invoice", (0, 0, 70, 10)),
    Line("Total: 12.50 EUR", (0, 20, 160, 30)),
    Line("K47", (100, 50, 130, 60)),
    Line("Room K4", (0, 80, 70, 90)),
]


@pytest.mark.parametrize(
    ("answer", "boxes"),
    [
        ("K47", [(100, 50, 130, 60)]),
        ("k47.", [(100, 50, 130, 60)]),
        ("12.50", [(70, 20, 120, 30)]),
        ("12.50 EUR", [(70, 20, 160, 30)]),
        ("invoice K47", [(0, 0, 70, 10), (100, 50, 130, 60)]),
        ("K4", [(50, 80, 70, 90)]),  # a word of its own, not the beginning of K47
        ("K48", []),
        ("invoice K48", []),
        ("yes", []),
        ("...", []),
    ],
)
def test_the_answers_words_are_found_in_lines(answer, boxes) -> None:
    assert locate(answer, LINES) == boxes


def test_a_text_that_occurs_twice_has_two_boxes() -> None:
    twice = [*LINES, Line("K47", (0, 200, 30, 210))]
    assert locate("K47", twice) == [(100, 50, 130, 60), (0, 200, 30, 210)]


def test_a_picture_is_read_once_for_all_its_questions() -> None:
    reads = []

    def read(image: Image.Image) -> list[Line]:
        reads.append(image.size)
        return LINES

    oracle = OcrOracle(read)
    first, second = Image.new("RGB", (200, 220)), Image.new("RGB", (200, 220), "white")
    for image in (first, first.copy(), second):
        oracle.boxes(image, "?", "K47", ())
    assert len(reads) == 2


def test_rows_whose_answer_is_not_written_in_the_picture_are_skipped_and_counted(tmp_path) -> None:
    Image.new("RGB", (224, 224), "white").save(tmp_path / "p.png")
    rows = [Row(a, "p.png", a, a, ((0, 0, 9, 9),)) for a in ("K47", "K48")]

    def answer(_image: Image.Image, question: str) -> tuple[str, str]:
        return "?", question  # right at full resolution alone

    oracle = OcrOracle(lambda _image: LINES)
    report = curate(rows, tmp_path, tmp_path / "t.jsonl", answer, ExactJudge(), oracle)
    [kept] = read_trajectories(tmp_path / "t.jsonl", pytest.fail)
    assert (kept.id, kept.crops, kept.oracle) == ("K47", ("5",), "ocr")
    assert kept.boxes == ((100, 50, 130, 60),)
    assert report.reasons == [
        "K48: needs a closer look, but oracle 'ocr' and rule 'coverage' find no crop"
    ]


def test_rapidocr_reads_small_text_where_it_stands() -> None:
    pytest.importorskip("rapidocr")
    oracle = OcrOracle()
    sample = generate("test", 0, 0)
    image = Image.fromarray(sample.picture)
    asked = [q for q in sample.questions if q.size == "small" and len(q.evidence) == 1]
    for question in asked:
        [found] = oracle.boxes(image, question.text, question.answer, ())
        (evidence,) = question.evidence
        assert intersection(found, evidence) > 0
    assert asked


def test_a_missing_package_is_named_with_its_install_line(monkeypatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'awares-edge\[ocr\]'"):
        OcrOracle()
