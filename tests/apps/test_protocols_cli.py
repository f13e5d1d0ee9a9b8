"""`awares-edge protocols`: list, show, read."""

import io
import json
import sys
from types import SimpleNamespace

import pytest
from PIL import Image

import awares_edge
from awares_edge.apps import options
from awares_edge.apps.cli import main
from awares_edge.lines import MAX_LINE
from awares_edge.protocol import PROFILES

MINE = """
name = "mine"
system = "Look."

[tool]
syntax = "list"
opening = "<look>"
closing = "</look>"
example = "<look>[{box}]</look>"

[region]
coordinates = "view"
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    return path


@pytest.fixture
def read(monkeypatch, capsys):
    """Run `protocols read`; (exit code, results, stderr)."""

    def run(name, *lines):
        data = b"\n".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
        )
        stream = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
        monkeypatch.setattr(sys, "stdin", stream)
        code = main(["protocols", "read", str(name)])
        printed = capsys.readouterr()
        return code, [json.loads(line) for line in printed.out.splitlines()], printed.err

    return run


def test_the_list_names_every_profile_and_its_checkpoints(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["protocols"]) == 0
    printed = capsys.readouterr().out
    for name, profile in PROFILES.items():
        assert name in printed
        assert all(checkpoint in printed for checkpoint in profile.checkpoints)
    assert main(["protocols", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(PROFILES)
    assert rows["deepeyes"]["max_calls"] == 4
    assert rows["ergo"]["must_call"]
    assert rows["visionthink"]["asks_for"] == "the whole picture"


@pytest.mark.parametrize("name", PROFILES)
def test_show_prints_a_whole_conversation(name, capsys):
    assert main(["protocols", "show", name]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"profile: {name}\n")
    for part in ("--- the prompt", "--- a call", "--- what is appended", "--- the answer"):
        assert part in printed
    assert f"<|im_start|>system\n{PROFILES[name].system}<|im_end|>\n" in printed
    assert main(["protocols", "show", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["profile"]["name"] == name
    assert [part["by_model"] for part in shown["conversation"]] == [False, True, False, True]
    assert PROFILES[name].call.parse(shown["conversation"][1]["text"]).status in ("ok", "repaired")


def test_a_shown_profile_can_be_read_back_from_a_file(tmp_path, capsys):
    assert main(["protocols", "show", "pixelreasoner", "--json"]) == 0
    path = tmp_path / "copy.json"
    path.write_text(json.dumps(json.loads(capsys.readouterr().out)["profile"]))
    assert main(["protocols", "show", str(path), "--json"]) == 0
    copy = json.loads(capsys.readouterr().out)
    assert main(["protocols", "show", "pixelreasoner", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == copy


def test_read_says_what_a_reply_asks_for(read):
    code, (result,), error = read(
        "ergo",
        {"text": "<zoom>[0, 0, 280, 140]</zoom>", "image_size": [1120, 840], "question": "Why?"},
    )
    assert (code, error) == (0, "")
    region = {"box": [0, 0, 280, 140], "picture": 0, "size": [280, 140], "id": ""}
    assert result["regions"] == [region]
    assert (result["status"], result["problem"], result["answer"]) == ("ok", "", "")
    assert (result["source_size"], result["first_size"]) == ([1120, 840], [1120, 840])
    assert result["turn"].startswith("<|im_end|>\n<|im_start|>user\n<|vision_start|>")
    assert "Why?\nCarefully analyze" in result["turn"]


@pytest.mark.parametrize("key", ["pictures", "images", "observations"])
@pytest.mark.parametrize("count", ["calls", "turn"])
def test_earlier_pictures_and_calls_have_other_names_too(read, key, count):
    text = '<grounding>{"bbox_2d": [0, 0, 0.5, 0.5], "source": "observation_1"}</grounding>'
    line = {"text": text, "image_size": [900, 900], key: [[900, 900], [400, 400]], count: 2}
    code, (result,), _ = read("mini-o3", line)
    assert code == 0
    assert result["regions"][0] == {
        "box": [0, 0, 200, 200],
        "picture": 1,
        "size": [200, 200],
        "id": "",
    }
    assert "Action 2, here is the the zoom-in image (Observation 3)" in result["turn"]


def test_a_profile_of_ones_own_is_read_from_a_file(read, mine):
    code, (result,), _ = read(
        mine, {"text": "<look>[0, 0, 50, 50]</look>", "image_size": [200, 200]}
    )
    assert (code, result["regions"][0]["box"]) == (0, [0, 0, 100, 100])


GOOD = {"text": "red", "image_size": [64, 64]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"nope", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must hold a JSON object"),
        (b'{"text": "\xff", "image_size": [1, 1]}', "not UTF-8"),
        (b'{"text": "' + b"a" * MAX_LINE + b'"}', "over 1,048,576 bytes"),
        (b'{"text": "a", "text": "b"}', "twice"),
        ({"text": "a"}, "lacks the field 'image_size'"),
        ({"image_size": [1, 1]}, "lacks the field 'text'"),
        ({**GOOD, "text": 1}, "'text' must be text"),
        ({**GOOD, "image_size": [0, 1]}, "'image_size' must be"),
        ({**GOOD, "image_size": [1, True]}, "'image_size' must be"),
        ({**GOOD, "image_size": [1 << 21, 1]}, "'image_size' must be"),
        ({**GOOD, "pictures": [[1]]}, "'pictures' must be"),
        ({**GOOD, "pictures": [[1, 1]] * 65}, "'pictures' must be"),
        ({**GOOD, "images": [], "pictures": []}, "'pictures' twice"),
        ({**GOOD, "calls": -1}, "'calls' must be"),
        ({**GOOD, "question": "a" * 40_000}, "'question' must be"),
        ({**GOOD, "x\x1b[2J": 1}, "unknown field"),
    ],
    ids=str,
)
def test_a_bad_line_is_an_error_of_that_line_alone(read, line, message):
    code, results, error = read("paper", GOOD, line, b"", GOOD)
    assert code == 2
    assert error == "awares-edge: 1 of 3 lines could not be read\n"
    good, bad, after = results
    assert good == after
    assert good["answer"] == "red"
    assert bad["line"] == 2
    assert message in bad["error"]


def test_no_lines_are_no_error(read):
    assert read("paper") == (0, [], "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Look.", "Look.\\u0000" * 9000), "system must be valid text of 0 to 16384 characters"),
        (('system = "Look."', ""), "lacks the field 'system'"),
        (('name = "mine"', 'name = "mine"\nspeed = 1'), "unknown field 'speed'"),
        (("[tool]", "[limits]\nmax_calls = 0\n[tool]"), "max_calls must be a whole number between"),
        (("[{box}]", "{box}"), "is not a call that can be read"),
        (("[{box}]", "[1, 2, 3, 4]"), "tool.example must hold {box}"),
        (('"list"', '"json"'), "needs the key of a box or a fixed argument"),
        (('"view"', '"crops"'), "region.coordinates must be crops where tool.syntax is crops"),
        (('"view"', '"sideways"'), "coordinates must be one of 'crops'"),
        (('"view"', '"view"\nreferences = "names"'), "region.references needs tool.reference"),
        (("[tool]", '[reply]\ntext = "no place"\n[tool]'), "reply.text must hold {image} once"),
        (("[tool]", "[tool"), "is not valid TOML"),
        (("[tool]", "a = " + "9" * 5000 + "\n[tool]"), "is not valid TOML"),
        (('name = "mine"', 'name = "mine"\nuser = "{question}{image}"'), "user must hold {image}"),
        (('name = "mine"', 'name = "mine"\nfollow_up = "And?"'), "follow_up must hold {question}"),
        (("Look.", "Look.\n"), "is not valid TOML"),
        (("[region]", "[region]\nlarger_than = 9000"), "refuses its own example"),
    ],
)
def test_a_profile_that_cannot_work_is_one_line(mine, change, message, capsys):
    mine.write_text(mine.read_text().replace(*change))
    assert main(["protocols", "show", str(mine)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err


@pytest.mark.parametrize("command", ["show", "read"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("papre", "choose one of paper, readme, evaluator, nano"),
        ("none.toml", "cannot read none.toml"),
        (".json", "no protocol profile"),
    ],
)
def test_a_profile_that_is_not_there(command, name, message, capsys):
    assert main(["protocols", command, name]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_text(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    for data, message in ((b"\xff", "not UTF-8"), (b"#" * (1 << 21), "too large for a profile")):
        path.write_bytes(data)
        assert main(["protocols", "show", str(path)]) == 2
        assert message in capsys.readouterr().err
    folder = tmp_path / "folder.json"
    folder.mkdir()
    assert main(["protocols", "show", str(folder)]) == 2
    assert "not a regular file" in capsys.readouterr().err


def test_a_hostile_profile_is_shown_as_text(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    path = tmp_path / "mine.json"
    hostile = "evil\x1b[2J[bold red]\u202e"
    path.write_text(json.dumps({"name": hostile, "system": hostile, "tool": {"crops": ["0"]}}))
    for command in (["show", str(path)], ["show", str(path), "--json"]):
        assert main(["protocols", *command]) == 0
        printed = capsys.readouterr().out
        assert not set(printed) & {"\x1b", "\u202e"}
        assert "[bold red]" in printed


def test_other_commands_take_a_profile_file(mine, tmp_path, capsys, monkeypatch):
    picture = tmp_path / "picture.png"
    Image.new("RGB", (224, 280)).save(picture)

    def load(*_, protocol, **__):
        return awares_edge.scripted(["<look>[0, 0, 56, 56]</look>", "42"], protocol=protocol)

    monkeypatch.setattr(options, "load", load)
    assert main(["ask", str(picture), "What?", "--protocol", str(mine), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["answer"], answer["boxes"]) == ("42", [[0, 0, 112, 112]])
    assert main(["export", str(tmp_path), "-o", "out", "--protocol", "none.toml"]) == 2
    assert "cannot read none.toml" in capsys.readouterr().err
