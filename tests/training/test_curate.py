"""Curation: oracles, crop rules, resuming, and rows that cannot be used."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from PIL import Image

from awares_edge.training.crop_rules import coverage, crops_for, iou
from awares_edge.training.curate import curate
from awares_edge.training.endpoint import Endpoint
from awares_edge.training.errors import EndpointError
from awares_edge.training.judges import EndpointJudge, ExactJudge
from awares_edge.training.oracles import EndpointOracle, KnownBoxes, parse_boxes
from awares_edge.training.trajectories import (
    Row,
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
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (224, 224), "white").save(tmp_path / "p.png")
    return tmp_path


def test_labels_come_from_outcomes_and_crops_from_evidence(folder: Path) -> None:
    out = folder / "t.jsonl"
    report = curate(ROWS, folder, out, _small_text_fails, ExactJudge(), KnownBoxes())
    found = list(read_trajectories(out, pytest.fail))
    assert [(t.id, t.label, t.crops) for t in found] == [
        ("a", "HR", ("0",)),
        ("b", "LR", ()),
        ("c", "HR", ("4",)),
    ]
    assert report.labels == {"LR": 1, "HR": 2}
    assert report.skipped == 2
    assert any("gone.png" in r for r in report.reasons)
    assert any(r.startswith("e:") for r in report.reasons)


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
    assert len(asked) == 3  # b, c and the one without crops


def test_bad_rows_are_reported_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = {"image": "p.png", "question": "Q?", "answer": "A", "boxes": [[0, 0, 5, 5]]}
    bad = [
        "{",
        "[1]",
        json.dumps({**good, "answer": ""}),
        json.dumps({**good, "boxes": [[5, 5, 1, 1]]}),
        json.dumps({**good, "boxes": 3}),
    ]
    path.write_text("\n".join([json.dumps(good), *bad, ""]))
    reasons: list[str] = []
    rows = list(read_rows(path, reasons.append))
    assert len(rows) == 1
    assert rows[0].boxes == ((0, 0, 5, 5),)
    assert len(reasons) == 5
    assert all(r.startswith("rows.jsonl:") for r in reasons)


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


def test_synthetic_rows_name_pictures_that_can_be_drawn_again(tmp_path: Path) -> None:
    rows = list(synthetic_rows("validation", 3, 12))
    assert len({r.id for r in rows}) == 12

    def nothing(_image: Image.Image, _question: str) -> tuple[str, str]:
        return "", ""

    report = curate(rows, tmp_path, tmp_path / "t.jsonl", nothing, ExactJudge(), KnownBoxes())
    assert report.kept == 12
    assert report.labels["HR"] == 0  # equally wrong twice: a tie


class _Handler(BaseHTTPRequestHandler):
    replies: list[tuple[int, str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, text = type(self).replies.pop(0)
        self.send_response(status)
        self.end_headers()
        message = {"choices": [{"message": {"content": text}}]}
        self.wfile.write(json.dumps(message).encode() if status == 200 else b"")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Endpoint]:
    http = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{http.server_port}/v1"
    yield Endpoint(url, "m", attempts=3, first_wait=0.01, timeout=5)
    http.shutdown()
    http.server_close()


def test_endpoint_retries_and_then_gives_up(server: Endpoint) -> None:
    _Handler.replies = [(503, ""), (429, ""), (200, "2")]
    assert EndpointJudge(server).compare("q", "a", "b", "a") == "high"
    _Handler.replies = [(503, "")] * 3
    with pytest.raises(EndpointError, match="finished rows are kept"):
        server.chat("hello")
    _Handler.replies = [(401, "")]
    with pytest.raises(EndpointError, match="401"):
        server.chat("hello")
    _Handler.replies = [(200, "no idea")]
    with pytest.raises(EndpointError, match="instead of a digit"):
        EndpointJudge(server).score("q", "a", "b")


def test_endpoint_oracle(server: Endpoint) -> None:
    _Handler.replies = [(200, '[{"bbox_2d": [0, 0, 500, 500]}]'), (200, "nowhere")]
    oracle = EndpointOracle(server)
    image = Image.new("RGB", (100, 100))
    assert oracle.boxes(image, "q", "a", ()) == [(0, 0, 50, 50)]
    with pytest.raises(EndpointError):
        oracle.boxes(image, "q", "a", ())
