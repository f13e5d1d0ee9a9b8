"""A recording is a set of questions that evaluation, curation and calibration read."""

import json

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import InputError
from awares_edge.calibration.questions import read_questions
from awares_edge.camera import Station, StationOptions
from awares_edge.camera.prepare import as_is
from awares_edge.evaluation.suites.base import Selection
from awares_edge.evaluation.suites.own import OwnSuite
from tests.camera.fakes import SteadySource, noise, wait_until

CALL = "GET_CROPS: ['3']"


def recorded(folder, *replies, questions=("What?",), prepare=None):
    """What a station writes that is asked these questions, the second one as a follow-up."""
    model = awares_edge.scripted(replies)
    source = SteadySource(lambda number: noise(number))
    options = StationOptions("driven", record_to=folder, prepare=prepare)
    with model, Station(model, options, opener=lambda _: source) as station:
        station.record(True)
        assert station.state().recording
        for count, question in enumerate(questions):
            station.ask(question, follow_up=count == 1)
            assert station.wait_idle(30)
        return station.history()


def rows(folder):
    return [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]


def test_a_line_and_a_picture_for_each_answer(tmp_path):
    (exchange,) = recorded(tmp_path / "set", CALL, "42")
    (row,) = rows(tmp_path / "set")
    assert {k: row[k] for k in ("id", "image", "question", "answer", "path", "crops")} == {
        "id": "000001-1",
        "image": "frames/000001.jpg",
        "question": "What?",
        "answer": "42",
        "path": "zoomed: bottom-right",
        "crops": ["3"],
    }
    picture = np.asarray(Image.open(tmp_path / "set" / row["image"]), int)
    assert np.abs(picture - noise(exchange.frame)).mean() < 10


def test_questions_about_one_frame_share_its_picture(tmp_path):
    recorded(tmp_path, "one", "two", questions=("What?", "And?"))
    assert [row["image"] for row in rows(tmp_path)] == ["frames/000001.jpg"] * 2
    assert [row["id"] for row in rows(tmp_path)] == ["000001-1", "000001-2"]


def test_a_folder_is_continued(tmp_path):
    recorded(tmp_path, "one")
    recorded(tmp_path, "two")
    assert [row["image"] for row in rows(tmp_path)] == ["frames/000001.jpg", "frames/000002.jpg"]
    assert [row["answer"] for row in rows(tmp_path)] == ["one", "two"]


def test_the_picture_is_what_the_model_was_given(tmp_path):
    recorded(tmp_path, "one", prepare=lambda pixels: as_is(pixels[:300, :200]))
    assert Image.open(tmp_path / "frames/000001.jpg").size == (200, 300)


def test_an_empty_answer_is_left_out(tmp_path):
    recorded(tmp_path, "")
    assert list(tmp_path.iterdir()) == []


def test_evaluation_curation_and_calibration_read_it(tmp_path):
    recorded(tmp_path, CALL, "42", "blue", questions=("What?", "And?"))
    path = tmp_path / "questions.jsonl"
    suite = OwnSuite(path)
    questions = [question for _, question in suite.read(Selection())]
    assert [(q.prompt, q.references) for q in questions] == [
        ("What?", ("42",)),
        ("And?", ("blue",)),
    ]
    assert all(Image.open(question.image).size == (448, 448) for question in questions)
    assert [(q.question, q.crops) for q in read_questions(path)] == [
        ("What?", ("3",)),
        ("And?", ()),
    ]


def test_curation_reads_it(tmp_path):
    pytest.importorskip("torch")
    from awares_edge.training.trajectories import open_image, read_rows

    recorded(tmp_path, CALL, "42")
    skipped = []
    (row,) = read_rows(tmp_path / "questions.jsonl", skipped.append)
    assert (row.question, row.answer, skipped) == ("What?", "42", [])
    assert open_image(row.image, tmp_path).size == (448, 448)


def test_a_station_without_a_folder_does_not_record():
    with awares_edge.scripted() as model, Station(model) as station:
        with pytest.raises(InputError, match="no folder to record to"):
            station.record(True)
        station.record(False)


def test_a_disk_that_fails_ends_the_recording_and_not_the_station(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    model = awares_edge.scripted(["one", "two"])
    options = StationOptions("driven", record_to=tmp_path)
    with model, Station(model, options, opener=lambda _: SteadySource()) as station:
        station.record(True)
        monkeypatch.setattr("awares_edge.camera.recording.whole_file", full)
        station.ask("What?")
        wait_until(lambda: not station.state().recording)
        events = [e.event for e in station.events_after(0) if e.event.kind == "error"]
        assert "the recording has ended" in events[0].message
        assert "No space left" in events[0].message
        station.ask("What?")
        assert station.wait_idle(30)
        assert station.history()[-1].answer == "two"
