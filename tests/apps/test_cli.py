"""The command line: results on stdout, one clear line and exit code 2 for what cannot be done."""

import json

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import extras
from awares_edge.apps import cli, console, options
from awares_edge.apps.cli import main


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (224, 280, 3), dtype=np.uint8)).save(
        path
    )
    return path


@pytest.fixture
def replies(monkeypatch):
    """Script the model that the commands load."""

    def script(*texts):
        def load(*_, protocol=None, **__):
            return awares_edge.scripted(texts, protocol=protocol or "paper")

        monkeypatch.setattr(options, "load", load)

    return script


def test_ask_prints_the_answer_alone_on_stdout(picture, replies, capsys):
    replies("GET_CROPS: ['3']", "42")
    assert main(["ask", str(picture), "What?"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "42\n"
    assert "zoomed: bottom-right" in printed.err
    assert "40 of 80 visual tokens (RTR 0.50)" in printed.err


def test_json_is_one_object_with_everything(picture, replies, capsys):
    replies("GET_CROPS: ['3']", "42")
    assert main(["ask", str(picture), "What?", "--json"]) == 0
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert printed.err == ""
    assert answer["answer"] == "42"
    assert answer["crops"] == ["3"]
    assert answer["boxes"] == [[140, 112, 280, 224]]
    assert answer["call_status"] == "ok"
    assert answer["visual_tokens"] == {"low": 20, "crops": 20, "full": 80}
    assert (answer["rtr"], answer["pixel_ratio"]) == (0.5, 0.5)
    for key in ("prefill_tokens", "reused_tokens", "decode_tokens"):
        assert len(answer[key]) == 2
    assert set(answer["timings_ms"]) == {"preprocess", "vision", "prefill", "decode", "total"}
    assert (answer["runtime"], answer["precision"]) == ("null", "none")


class TestSeveralQuestions:
    def test_they_are_one_conversation(self, picture, replies, capsys):
        replies("GET_CROPS: ['3']", "42", ["GET_CROPS: ['3']", "43"])
        assert main(["ask", str(picture), "What?", "And now?"]) == 0
        printed = capsys.readouterr()
        assert printed.out == "42\n43\n"
        assert "policy already-shown:answer" in printed.err

    def test_unless_they_are_not_to_be(self, picture, replies, capsys):
        replies("GET_CROPS: ['3']", "42", "GET_CROPS: ['3']", "43")
        assert main(["ask", str(picture), "What?", "What?", "--no-follow-up", "--json"]) == 0
        one, two = json.loads(capsys.readouterr().out)
        assert (one["answer"], two["answer"]) == ("42", "43")
        assert one["reused_tokens"][1] == two["reused_tokens"][1]
        assert two["reused_regions"] == [0, 1]

    def test_json_lists_every_turn(self, picture, replies, capsys):
        replies("GET_CROPS: ['3']", "GET_CROPS: ['0']", "42")
        arguments = ["--mode", "progressive", "--max-calls", "2", "--json"]
        assert main(["ask", str(picture), "What?", *arguments]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["mode"], answer["crops"]) == ("progressive", ["3", "0"])
        for key in ("prefill_tokens", "reused_tokens", "decode_tokens"):
            assert len(answer[key]) == 3

    def test_a_view_shows_every_question_and_region(self, picture, replies, tmp_path):
        sizes = []
        for ids in ("'3'", "'3', '0', '1', '2', '8'"):
            view = tmp_path / "view.png"
            replies(f"GET_CROPS: [{ids}]", "42", "blue")
            assert main(["ask", str(picture), "What?", "And?", "--save-view", str(view)]) == 0
            with Image.open(view) as image:
                sizes.append(image.size)
        # Two questions of one row each; five crops take two rows more.
        (width, height), (wide, high) = sizes
        assert wide == width
        assert high - height == 2 * 368


def test_reasoning_is_told_apart_from_the_answer(picture, replies, capsys):
    call = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, 90, 90]}}'
    said = (f"<think>Where?{call}</tool_call>", "<think>There.</think><answer>42</answer>")
    for flag in ([], ["--stream"]):
        replies(*said)
        assert main(["ask", str(picture), "What?", "--protocol", "deepeyes", *flag]) == 0
        printed = capsys.readouterr()
        assert printed.out == "42\n"
        assert ("There." in printed.err) == bool(flag)
        assert "tokens of reasoning" in printed.err
    assert "looking closer: box 0,0,90,90\n" in printed.err
    replies(*said)
    assert main(["ask", str(picture), "What?", "--protocol", "deepeyes", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["reasoning"] == "<think>Where?<think>There.</think>"
    assert answer["reasoning_tokens"] == len(answer["reasoning"])


def test_a_stream_prints_text_as_it_comes(picture, replies, capsys):
    replies("GET_CROPS: ['3']", "forty two")
    assert main(["ask", str(picture), "What?", "--stream"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "forty two\n"
    assert "looking closer: bottom-right" in printed.err


def test_generated_text_cannot_command_the_terminal(picture, replies, capsys):
    for flag in ([], ["--stream"]):
        replies("\x1b[2Jred\x07")
        assert main(["ask", str(picture), "?", *flag]) == 0
        assert capsys.readouterr().out == "\\x1b[2Jred\\x07\n"


def test_modes_and_policies_reach_the_loop(picture, replies, capsys):
    replies("GET_CROPS: ['3', '0']", "42")
    arguments = ["ask", str(picture), "?", "--json", "--max-crops", "1", "--protocol", "evaluator"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["policies"] == ["too-many-crops:keep-first"]
    assert answer["protocol"] == "evaluator"
    replies("red")
    assert main(["ask", str(picture), "?", "--json", "--mode", "full"]) == 0
    assert json.loads(capsys.readouterr().out)["rtr"] == 1.0


def test_an_unsure_answer_is_withheld_and_the_decision_can_be_moved(picture, replies, capsys):
    replies("42")
    assert main(["ask", str(picture), "?", "--abstain-below", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "unsure\n"
    assert "policy abstain:" in printed.err
    replies(["42", "GET_CROPS: ['3']"], "7")
    assert main(["ask", str(picture), "?", "--decision-bias", "1.5", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["answer"], answer["decision_margin"], answer["decision_bias"]) == (
        "7",
        -1.0,
        1.5,
    )


def test_a_view_shows_picture_low_res_and_crops(picture, replies, tmp_path, capsys):
    replies("GET_CROPS: ['3']", "42")
    view = tmp_path / "new" / "view.png"
    assert main(["ask", str(picture), "What?", "--save-view", str(view)]) == 0
    with Image.open(view) as image:
        assert image.width > 3 * 300
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []
    assert "42" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask", "no.png", "?"], "no such image: no.png"),
        (["ask", "{picture}", " "], "the question is empty"),
        (["ask", "{picture}", "?", "--bundle", "nowhere"], "no such bundle: nowhere"),
        (["ask", "{picture}", "?", "--runtime", "x"], "no runtime 'x': choose one of onnx"),
        (["ask", "{picture}", "?", "--protocol", "x"], "no protocol profile 'x'"),
        (["ask", "{picture}", "?", "--json", "--stream"], "leave --stream out"),
        (["ask", "{picture}", "?", "--max-rtr", "-1"], "max_rtr must be a finite number above 0"),
        (["ask", "{picture}", "?", "--decision-bias", "nan"], "decision_bias must be between"),
        (
            ["ask", "{picture}", "?", "--abstain-below", "2"],
            "abstain_below must be between 0",
        ),
        (["ask", "{picture}", "?", "--timeout", "0"], "timeout must be above 0"),
        (["ask", "{picture}", "?", "--crops", "all,0"], "--crops 'all,0' does not name crops"),
        (["ask", "{picture}", "?", "--crops", ""], "--crops '' does not name crops"),
        (["ask", "{picture}", "?", "--crops", "1,,2"], "--crops '1,,2' does not name crops"),
        (["ask", "{picture}", "?", "--crops", "1,1"], "--crops '1,1' does not name crops"),
        (["ask", "{picture}", "?", "--mode", "low", "--max-crops", "1"], "leave --max-crops"),
        (["ask", "{picture}", "?", "--mode", "full", "--max-calls", "1"], "leave --max-calls"),
        (["ask", "{picture}", "?", " "], "the question is empty"),
        (["chat", "no.png"], "no such image: no.png"),
        (["chat", "{picture}", "--bundle", "nowhere"], "no such bundle: nowhere"),
        (["evaluate", "synth", "--all-modes", "--mode", "low"], "leave --mode out"),
        (["inspect", "nowhere"], "no such bundle: nowhere"),
        (["export", "nowhere", "-o", "out", "--protocol", "x"], "no protocol profile"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(arguments, message, picture, capsys):
    assert main([a.format(picture=picture) for a in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("awares-edge: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("debug", [[], ["--debug"]])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask"], "Missing argument"),
        (["ask", "a", "b", "--mode", "x"], "Invalid value for '--mode'"),
        (["ask", "a", "b", "--max-crops", "0"], "Invalid value for '--max-crops'"),
        (["chat", "a", "b"], "unexpected extra argument"),
        (["chat"], "Missing argument"),
        (["ask", "a", "b", "--max-calls", "0"], "Invalid value for '--max-calls'"),
        (["ask", "--none"], "No such option"),
        (["nonsense"], "No such command 'nonsense'"),
        (["train", "curat"], "No such command 'curat'"),
        (["nonsense\x1b[2J[bold]"], r"nonsense\x1b[2J[bold]"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, message, debug, capsys):
    assert main([*arguments, *debug]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("awares-edge: ")
    assert message in printed.err.replace("\\\\", "\\")
    assert printed.err.endswith(" --help)\n")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--debug"], ["train"], ["evaluate", "--debug"]])
def test_a_command_without_arguments_shows_its_help(arguments, capsys):
    assert main(arguments) in (0, 2)  # as the version of click has it
    printed = capsys.readouterr()
    assert "Usage: awares-edge" in printed.out
    assert printed.err == ""


def test_debug_can_be_a_question(picture, replies, capsys):
    replies("red")
    assert main(["ask", str(picture), "--", "--debug"]) == 0
    assert capsys.readouterr().out == "red\n"


def test_a_checkpoint_in_place_of_a_bundle_says_what_to_do(picture, tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert main(["ask", str(picture), "?", "--bundle", str(tmp_path)]) == 2
    assert "export it first" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(awares_edge.ImageError):
        main(["ask", str(tmp_path / "no.png"), "?", "--debug"])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 2, "no space left on the device"),
        (MemoryError(), 2, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_the_machine_refuses_is_one_line_too(
    error, code, message, monkeypatch, picture, capsys
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(options, "load", fail)
    assert main(["ask", str(picture), "?"]) == code
    assert message in capsys.readouterr().err


def test_runtimes_name_the_extra_that_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert main(["runtimes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["torch"]["usable"] is False
    assert rows["torch"]["install"] == "pip install 'awares-edge[torch]'"
    assert rows["null"]["usable"] is True
    assert main(["runtimes"]) == 0
    assert "awares-edge[torch]" in capsys.readouterr().out


def test_a_missing_extra_is_named_with_its_install_line(monkeypatch, tmp_path, picture, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    arguments = ["ask", str(picture), "?", "--runtime", "torch", "--bundle", str(tmp_path)]
    assert main(arguments) == 2
    assert "pip install 'awares-edge[torch]'" in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"awares-edge {awares_edge.__version__}\n"
    assert cli.app.info.name == "awares-edge"


def test_an_error_that_quotes_a_name_does_not_command_the_terminal(capsys):
    assert main(["inspect", "gone\x1b[2J"]) == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("tell", [console.say, console.warn])
def test_a_long_path_stays_in_one_piece(tell, capsys):
    path = "/".join(["a-long-folder"] * 30)
    tell(f"written to {path}")
    printed = capsys.readouterr()
    assert path in printed.out + printed.err


def test_names_cannot_command_the_terminal(capsys):
    console.say("written to a\x1b[2Jb")
    assert "\x1b" not in capsys.readouterr().out
