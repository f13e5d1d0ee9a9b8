"""`awares-edge camera --terminal`: what is printed, and how it ends."""

import io
import json
import signal

import pytest
from PIL import Image

import awares_edge
from awares_edge.apps import camera, options
from awares_edge.apps.cli import main
from awares_edge.camera import station as stations
from awares_edge.synth import generate
from tests.camera.fakes import DrivenSource, SteadySource, noise, wait_until
from tests.faults.conftest import finish, start

CALL = "GET_CROPS: ['3']"


@pytest.fixture
def see(monkeypatch, capsys):
    """Run the command over a driven camera and a scripted model; (stdout, stderr)."""

    def see(*arguments, lines=(), replies=(), source=None, code=0):
        source = source or SteadySource(lambda n: noise(n, (560, 448)))

        def load(*_, protocol=None, **__):
            return awares_edge.scripted(replies, protocol=protocol or "paper")

        monkeypatch.setattr(options, "load", load)
        monkeypatch.setattr(camera, "open_source", lambda spec: source)
        monkeypatch.setattr(stations.Station.__init__, "__defaults__", (None, lambda _: source))
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        assert main(["camera", "--terminal", *arguments]) == code
        printed = capsys.readouterr()
        return printed.out, printed.err

    return see


def test_typed_questions_are_answered_in_their_order(see):
    out, err = see(lines=["What?", "", "And?"], replies=[CALL, "42", "blue"])
    assert out == "42\nblue\n"
    assert "looking closer: bottom-right" in err
    assert "zoomed: bottom-right · 160 of 320 visual tokens (RTR 0.50) · " in err
    assert "direct · 80 of 320 visual tokens (RTR 0.25) · " in err
    assert "camera driven: 560 x 448" in err
    assert "2 answers, 1 zoomed, RTR 0.38" in err


def test_a_follow_up_is_about_the_same_frame(see):
    out, err = see(lines=["What?", "/more And?"], replies=[CALL, "42", [CALL, "blue"]])
    assert out == "42\nblue\n"
    assert "view kept" in err
    frames = [line.split(":")[0] for line in err.splitlines() if line.startswith("frame ")]
    assert frames[0] == frames[1]


def test_a_standing_question_ends_after_so_many_answers(see):
    out, err = see("-q", "What?", "--count", "3", replies=["one", "two", "three", "four"])
    assert out == "one\ntwo\nthree\n"
    assert err.count(": What?") >= 3


def test_commands_that_do_not_exist_and_bad_questions_leave_it_running(see):
    out, err = see(lines=["/jump", "/more And?", "a" * 100_000, "What?"], replies=["42"])
    assert out == "42\n"
    assert "no command /jump" in err
    assert "ask a first question" in err


def test_quit_ends_it(see):
    out, _ = see(lines=["What?", "/quit", "And?"], replies=["42"])
    assert out == "42\n"


def test_json_lines_hold_answers_states_and_errors_only(see):
    out, err = see("--json", lines=["What?", "And?"], replies=[CALL, "42"])
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["kind"] for row in rows} == {"state", "answer", "error"}
    (answer,) = [row["exchange"] for row in rows if row["kind"] == "answer"]
    assert (answer["answer"], answer["badge"], answer["rtr"]) == ("42", "zoomed", 0.5)
    (error,) = [row for row in rows if row["kind"] == "error"]
    assert "used up" in error["message"]
    assert err == ""


def test_what_was_done_to_the_frames_is_said_once(see):
    pytest.importorskip("cv2")
    from awares_edge.camera.sheet import CapturedSheets

    drawn = Image.fromarray(generate("test", 0, 0).picture)
    frame = CapturedSheets("mild").taken(0, drawn).frame
    source = SteadySource(lambda _: frame, still=True)
    lines, arguments = ["What?", "And?"], ["--protocol", "nano"]
    out, err = see(*arguments, lines=lines, replies=["one", "two"], source=source)
    assert out == "one\ntwo\n"
    assert err.count("the picture of the sheet, straightened and sharpened") == 1


def test_a_standing_failure_is_said_once(see):
    pytest.importorskip("cv2")
    source = SteadySource(lambda n: noise(n, (560, 448)) if n < 200 else noise(n))
    arguments = ["--protocol", "nano", "-q", "What?", "--count", "1"]
    out, err = see(*arguments, replies=["one"], source=source)
    assert out == "one\n"
    assert err.count("0 of 4 markers found") == 1


def test_a_standing_answer_is_said_once(see):
    source = SteadySource(lambda n: noise(n // 60), still=True)
    out, err = see("-q", "What?", "--count", "2", source=source, replies=["one", "two"])
    assert out == "one\ntwo\n"
    assert err.count("looks the same: the answer is still right") == 1


def test_it_records(see, tmp_path):
    see("--record", str(tmp_path / "set"), lines=["What?"], replies=["42"])
    (line,) = (tmp_path / "set/questions.jsonl").read_text().splitlines()
    assert json.loads(line)["answer"] == "42"


def test_a_camera_that_is_not_there_is_one_line(see):
    source = DrivenSource()
    source.refuse = "there is no camera at /dev/video0: plug it in"
    out, err = see(source=source, code=2)
    assert (out, err) == ("", f"awares-edge: {source.refuse}\n")


def test_what_a_camera_says_commands_no_terminal(see):
    source = SteadySource(lambda n: noise(n), name="\x1b[2J")
    _, err = see(lines=["\x1b[31mWhat?"], replies=["\x1b[2J"], source=source)
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--terminal", "--lan"], "--lan serves the page"),
        (["--json"], "--json is for --terminal"),
        (["--count", "2"], "--count is for --terminal"),
        (["--terminal", "-q", ""], "empty"),
        (["--terminal", "-s", "nowhere.mp4"], "no source 'nowhere.mp4'"),
        (["--terminal", "--every", "-1"], "--every"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, capsys):
    assert main(["camera", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_the_page_names_the_extra_that_it_lacks(monkeypatch, capsys):
    monkeypatch.setattr("awares_edge.extras.find_spec", lambda name: None)
    assert main(["camera"]) == 2
    assert "pip install 'awares-edge[camera]'" in capsys.readouterr().err


def test_ctrl_c_ends_it_with_the_sum(see, monkeypatch):
    from awares_edge.apps.camera_terminal import Terminal

    def interrupted(self, event):
        shown(self, event)
        if event.event.kind == "answer":
            raise KeyboardInterrupt

    shown = Terminal._print
    monkeypatch.setattr(Terminal, "_print", interrupted)
    out, err = see("-q", "What?", replies=["42", "43"])
    assert out == "42\n"
    assert "1 answer, 0 zoomed" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "last"),
    [(signal.SIGINT, 0, "kept"), (signal.SIGTERM, 143, "awares-edge: terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_ends_the_real_process_cleanly(number, code, last, tmp_path):
    folder = tmp_path / "set"
    arguments = ["--terminal", "--threads", "1", "-q", "How many objects are there?"]
    process = start(["camera", *arguments, "--record", folder], tmp_path)
    assert process.stdout.readline().strip() in (b"3", b"4", b"5")
    wait_until((folder / "questions.jsonl").exists)
    process.send_signal(number)
    ended = finish(process).check(code)
    assert ended.err.splitlines()[-1].endswith(last)
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert {path.name for path in (folder / "frames").iterdir()} == {
        row["image"].removeprefix("frames/") for row in rows
    }
