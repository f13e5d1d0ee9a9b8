"""Hub ids, with the real client against a local stand-in for the hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from awares_edge.checkpoint.hub import is_hub_id
from tests.support.hub import COMMIT, running_hub

pytest.importorskip("huggingface_hub")

ID = "Kimhi/AWARES-Qwen2.5-VL-7B"
DOWNLOAD = """
import json, sys
from awares_edge.checkpoint.hub import download
from awares_edge.errors import AwaresError
try:
    folder = download(*sys.argv[1:])
    print(json.dumps([folder.commit, str(folder.path), folder.name]))
except AwaresError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def hub():
    with running_hub() as hub:
        hub.repositories[ID] = {
            "config.json": b"{}",
            "model.safetensors": bytes(range(256)) * 1000,
            "pytorch_model.bin": b"a pickle",
            "modeling.py": b"raise SystemExit",
            "README.md": b"# card",
        }
        yield hub


@pytest.fixture
def download(hub, tmp_path):
    """Download in a fresh process, as the client reads its settings once: what it printed."""

    def run(*arguments, **environment):
        settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", DOWNLOAD, *arguments],
            env={**os.environ, **settings, **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
def test_weights_and_configuration_alone_are_downloaded(hub, download, tmp_path):
    commit, path, name = download(ID)
    assert (commit, name) == (COMMIT, "AWARES-Qwen2.5-VL-7B")
    names = sorted(file.name for file in Path(path).iterdir())
    assert names == sorted(hub.gets) == ["README.md", "config.json", "model.safetensors"]
    assert Path(path, "model.safetensors").read_bytes() == hub.repositories[ID]["model.safetensors"]
    assert path.startswith(str(tmp_path))


@pytest.mark.slow
def test_a_second_download_fetches_nothing(hub, download):
    first = download(ID)
    hub.gets.clear()
    assert download(ID) == first
    assert hub.gets == []


@pytest.mark.slow
def test_a_broken_connection_is_resumed_where_it_broke(hub, download):
    hub.cut["model.safetensors"] = 100_000
    _, path, _ = download(ID)
    assert Path(path, "model.safetensors").read_bytes() == hub.repositories[ID]["model.safetensors"]
    assert hub.gets.count("model.safetensors") == 2


@pytest.mark.slow
def test_a_revision_is_pinned(download):
    assert download(ID, COMMIT)[0] == COMMIT
    assert download(ID, "v9") == f"{ID} has no revision 'v9'"


@pytest.mark.slow
def test_without_a_connection_the_cache_serves(download):
    first = download(ID)
    assert download(ID, HF_HUB_OFFLINE="1") == first
    assert download(ID, HF_ENDPOINT="http://127.0.0.1:9") == first


@pytest.mark.parametrize(
    "environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://[::1]:9"}]
)
@pytest.mark.slow
def test_without_a_connection_and_without_a_cache(download, environment):
    assert download(ID, **environment) == (
        f"the hub cannot be reached, and {ID} is not in the local cache: check the connection, or "
        "give a folder"
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "is gated: accept its terms"), (401, "log in if it is private"), (500, "cannot be")],
)
@pytest.mark.slow
def test_access_denied(hub, download, status, message):
    hub.status[ID] = status
    assert message in download(ID)


@pytest.mark.slow
def test_no_such_repository(download):
    assert "is neither a folder here nor a public repository" in download("nobody/nothing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ID, True),
        ("a/b", True),
        ("name", False),
        ("./a/b", False),
        ("/a/b", False),
        ("../b", False),
        ("a/b/c", False),
        ("a/..", False),
        ("a/b\n", False),
        ("ä/b", False),
    ],
)
def test_what_looks_like_an_id(text, expected):
    assert is_hub_id(text) is expected


def test_a_folder_that_exists_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert not is_hub_id("a/b")
