"""The MCP tool: what it answers, which files it reads, and the command with the official client."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import awares_edge
from awares_edge.errors import AwaresError
from awares_edge.serve.look import Looker, make_server
from awares_edge.serve.options import ServeOptions
from tests.serve.support import CALL, data_url, encoded, picture

mcp = pytest.importorskip("mcp", reason="pip install 'awares-edge[mcp]'")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(picture()))
    (tmp_path / "secret.png").write_bytes(encoded(picture(1)))
    return folder


def looker(root, *replies, **options):
    return Looker(awares_edge.scripted(replies), root, ServeOptions(**options))


def test_it_answers_about_a_file_and_a_data_url(root):
    found = looker(root, CALL, "42", CALL, "42")
    by_path = found.look("a.png", "What?")
    by_data = found.look(data_url(picture()), "What?")
    assert by_path["answer"] == by_data["answer"] == "42"
    assert by_path["size"] == [448, 336]
    assert [crop["name"] for crop in by_path["crops"]] == ["bottom-right"]
    assert by_path["crops"][0]["box"] == [224, 168, 448, 336]


def test_a_region_is_looked_at_in_its_own_pixels(root):
    found = looker(root, CALL, "42")
    answer = found.look("a.png", "What?", [100, 100, 300, 300])
    with awares_edge.scripted([CALL, "42"]) as model:
        cut = np.asarray(picture())[100:300, 100:300]
        expected = model.ask(cut, "What?")
    assert answer["size"] == [200, 200]
    assert answer["rtr"] == pytest.approx(expected.rtr, abs=1e-4)
    assert answer["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
    # In pixels of the whole picture.
    left, top, right, bottom = expected.crops[0].box
    assert answer["crops"][0]["box"] == [left + 100, top + 100, right + 100, bottom + 100]


def test_the_kv_of_a_picture_is_kept_by_picture_and_region(root):
    found = looker(root, *["42"] * 4)
    for region in (None, None, [0, 0, 100, 100], [0, 0, 100, 101]):
        found.look("a.png", "What?", region)
    assert len(found._store) == 3
    found.close()
    assert len(found._store) == 0


def test_a_saved_picture_is_found_again_by_picture_and_region(root, tmp_path):
    def loaded(*region):
        model = awares_edge.scripted(["42"])
        model.identity = lambda: "scripted"
        found = Looker(model, root, ServeOptions(save_kv=tmp_path / "kv"))
        assert found.look("a.png", "What?", *region)["answer"] == "42"
        found.close()
        return found._store.saved_counts["loaded"]

    whole, part = [], [[0, 0, 300, 300]]
    assert [loaded(*region) for region in (whole, part, whole, part)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "../pictures/../secret.png", "link.png", "/etc/passwd", "none.png", ".", ""],
)
def test_nothing_outside_the_root_is_read(root, name):
    (root / "link.png").symlink_to(root.parent / "secret.png")
    with pytest.raises(AwaresError) as caught:
        looker(root, "42").look(name, "What?")
    assert "\n" not in str(caught.value)


def test_pipes_and_long_files_are_not_read(root):
    os.mkfifo(root / "pipe.png")
    with pytest.raises(AwaresError, match="no such picture"):
        looker(root).look("pipe.png", "What?")
    with pytest.raises(AwaresError, match="over 1,024 bytes"):
        looker(root, max_body=1024).look("a.png", "What?")


@pytest.mark.parametrize(
    "region", [[], [0, 0, 10], [10, 0, 10, 10], [0, 9, 9, 3], [-1, 0, 9, 9], [0, 0, 449, 9]]
)
def test_regions_outside_the_picture_are_refused(root, region):
    with pytest.raises(AwaresError, match="region"):
        looker(root, "42").look("a.png", "What?", region)


def test_a_client_finds_one_tool_and_calls_it(root):
    async def scenario():
        async with mcp.Client(make_server(looker(root, "42"))) as client:
            (tool,) = (await client.list_tools()).tools
            good = await client.call_tool("look", {"image": "a.png", "question": "What?"})
            bad = await client.call_tool("look", {"image": "../secret.png", "question": "What?"})
        return tool, good, bad

    tool, good, bad = asyncio.run(scenario())
    assert tool.name == "look"
    assert set(tool.input_schema["required"]) == {"image", "question"}
    assert set(tool.input_schema["properties"]) == {"image", "question", "region"}
    assert good.structured_content["answer"] == "42"
    assert bad.is_error
    assert "outside" in bad.content[0].text


def test_the_command_speaks_over_standard_streams(root):
    from mcp.client.stdio import StdioServerParameters, stdio_client

    arguments = ["-m", "awares_edge", "mcp", "--root", str(root), "--threads", "1"]
    environment = {**os.environ}
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=environment)

    async def scenario():
        async with mcp.Client(stdio_client(parameters)) as client:
            call = {"image": "a.png", "question": "What?", "region": [0, 0, 224, 224]}
            return await client.call_tool("look", call)

    found = asyncio.run(scenario())
    assert not found.is_error
    assert found.structured_content["size"] == [224, 224]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_though_its_input_is_open(root, number):
    command = [sys.executable, "-m", "awares_edge", "mcp", "--root", str(root), "--threads", "1"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stderr.readline().startswith("look is ready")
        hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        process.stdin.write(json.dumps(hello) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert process.stderr.read().startswith("awares-edge: ")
    finally:
        process.kill()
        process.communicate()
