"""The whole product on this runtime: export, inspect, ask, stream, zoom, modes."""

import json

import pytest
from PIL import Image

from awares_edge.apps.cli import main


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.radial_gradient("L").convert("RGB").resize((300, 240)).save(path)
    return str(path)


def run(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_export_inspect_ask(bundle_root, tmp_path, picture, capsys):
    checkpoint, target = bundle_root.parent / "checkpoint", tmp_path / "q8"
    export = ("export", checkpoint, "-o", target, "--format", "gguf", "--precision", "q8_0")
    assert json.loads(run(capsys, *export, "--json"))["precision"] == "q8_0"
    assert "llamacpp" in run(capsys, "inspect", target)
    answer = json.loads(run(capsys, "ask", picture, "What?", "--bundle", target, "--json"))
    assert (answer["runtime"], answer["precision"]) == ("llamacpp", "q8_0")
    assert answer["prefill_tokens"][0] > answer["visual_tokens"]["low"]


def test_the_default_precision_is_f16(bundle_root, tmp_path, capsys):
    checkpoint = bundle_root.parent / "checkpoint"
    output = run(capsys, "export", checkpoint, "-o", tmp_path / "b", "--format", "gguf")
    assert "gguf, f16" in output


@pytest.mark.parametrize("mode", ["awares", "full", "low"])
def test_modes_and_streams(bundle_root, picture, capsys, mode):
    ask = ("ask", picture, "What?", "--bundle", bundle_root, "--mode", mode)
    answer = json.loads(run(capsys, *ask, "--json"))
    assert answer["mode"] == mode
    streamed = run(capsys, *ask, "--stream")
    assert answer["answer"].split("\n")[0][:20] in streamed


def test_runtimes_says_what_is_usable(capsys):
    rows = {row["name"]: row for row in json.loads(run(capsys, "runtimes", "--json"))}
    row = rows["llamacpp"]
    assert row["usable"]
    assert row["devices"][0] == "cpu"
    assert row["versions"]["llama_cpp"].startswith("0.")
    assert row["missing"] == []
