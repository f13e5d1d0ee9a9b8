"""Exports of checkpoints and adapters on the Hugging Face hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("onnx")

from safetensors.numpy import save_file

import awares_edge
from awares_edge import extras
from awares_edge.apps.cli import main
from awares_edge.bundle import Bundle
from awares_edge.checkpoint import Checkpoint
from awares_edge.checkpoint import source as source_module
from awares_edge.checkpoint.hub import HubFolder
from awares_edge.protocol.profiles import PROFILES, published_profile
from tests.support.checkpoints import make_checkpoint
from tests.support.hub import COMMIT, running_hub

ID, ADAPTER = "Kimhi/AWARES-Qwen2.5-VL-7B", "someone/my-lora"
OTHER = "someone/Qwen2.5-VL-3B"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    # A folder of the client's cache is called after its commit.
    return make_checkpoint(tmp_path_factory.mktemp("cache") / COMMIT, "untied")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    name = "base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_"
    down, up = np.ones((4, 64), np.float32), np.ones((64, 4), np.float32)
    save_file(
        {f"{name}A.weight": down, f"{name}B.weight": up}, folder / "adapter_model.safetensors"
    )
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def downloads(checkpoint, adapter, monkeypatch):
    """Records what is asked of the hub; replaces its client."""
    asked = []

    def download(repository, revision=None):
        asked.append((repository, revision))
        return HubFolder(repository, COMMIT, adapter if repository == ADAPTER else checkpoint)

    monkeypatch.setattr(source_module, "download", download)
    return asked


def test_a_checkpoint_and_an_adapter_by_their_ids(downloads, checkpoint, tmp_path, capsys):
    out = str(tmp_path / "bundle")
    arguments = ["--adapter", ADAPTER, "--revision", "v1", "--adapter-revision", "v2"]
    assert main(["export", ID, "-o", out, *arguments]) == 0
    assert downloads == [(ID, "v1"), (ADAPTER, "v2")]
    assert (
        "protocol: readme, as its model card shows; --protocol chooses" in capsys.readouterr().err
    )
    manifest = Bundle.open(out).manifest
    assert manifest.protocol == PROFILES["readme"]
    assert manifest.model.name == "AWARES-Qwen2.5-VL-7B"
    facts = manifest.provenance
    assert (facts["checkpoint"], facts["adapter"]) == ("AWARES-Qwen2.5-VL-7B", "my-lora")
    assert facts["hub"] == f"{ID}@{COMMIT}"
    assert facts["adapter_hub"] == f"{ADAPTER}@{COMMIT}"
    assert main(["export", str(checkpoint), "-o", f"{out}-2"]) == 0
    assert "hub" not in Bundle.open(f"{out}-2").manifest.provenance


@pytest.mark.parametrize(
    ("arguments", "profile", "noted"),
    [
        ([OTHER], "paper", "protocol: paper, the default; --protocol chooses another"),
        ([ID, "--protocol", "evaluator"], "evaluator", ""),
    ],
)
@pytest.mark.usefixtures("downloads")
def test_the_profile_in_force_is_said(tmp_path, capsys, arguments, profile, noted):
    assert main(["export", *arguments, "-o", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().err.strip() == noted
    assert Bundle.open(tmp_path / "b").manifest.protocol == PROFILES[profile]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([OTHER, "--protocol", "papre"], "no protocol profile 'papre'"),
        ([OTHER, "--precision", "int3"], "no precision 'int3'"),
        ([OTHER, "--target", "h100"], "--target is for --format tensorrt"),
        ([OTHER, "--adapter-revision", "v1"], "--adapter-revision needs --adapter"),
        ([OTHER, "-o", "."], "exists: choose another folder"),
    ],
)
def test_nothing_is_downloaded_for_options_that_are_refused(downloads, capsys, arguments, message):
    assert main(["export", "-o", "new", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert downloads == []


def test_folders_have_no_revisions(checkpoint, adapter, downloads, tmp_path, capsys):
    export = ["export", str(checkpoint), "-o", str(tmp_path / "b")]
    assert main([*export, "--revision", "v1"]) == 2
    assert "is a folder: only a repository on the hub has revisions" in capsys.readouterr().err
    assert main([*export, "--adapter", str(adapter), "--adapter-revision", "v1"]) == 2
    assert "is a folder: only a repository on the hub has revisions" in capsys.readouterr().err
    assert main([*export, "--adapter", str(tmp_path / "gone")]) == 2
    assert "no such adapter folder" in capsys.readouterr().err
    assert downloads == []


def test_a_path_is_never_downloaded(downloads):
    with pytest.raises(awares_edge.CheckpointError, match="no such checkpoint folder: owner/name"):
        awares_edge.load(Path("owner/name"), runtime="torch")
    assert downloads == []


def test_the_reference_loads_ids(downloads, checkpoint):
    with awares_edge.load(ID, runtime="torch", threads=1) as model:
        assert model.protocol == PROFILES["readme"]
    with awares_edge.load(OTHER, runtime="torch", threads=1, protocol="evaluator") as model:
        assert model.protocol == PROFILES["evaluator"]
    with awares_edge.load(checkpoint, runtime="torch", threads=1) as model:
        assert model.protocol == PROFILES["paper"]
    assert downloads == [(ID, None), (OTHER, None)]


def test_weights_are_measured_on_ids(downloads, tmp_path, capsys):
    Image.new("RGB", (60, 60), "red").save(tmp_path / "a.png")
    (tmp_path / "q.jsonl").write_text('{"image": "a.png", "question": "?", "crops": []}\n' * 8)
    measure = ["calibrate", "weights", ID, str(tmp_path / "q.jsonl"), "--json"]
    assert main([*measure, "-o", str(tmp_path / "m.safetensors")]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["questions"] == 8
    assert "protocol: readme, as its model card shows" in printed.err
    assert downloads == [(ID, None)]


def test_published_checkpoints():
    assert published_profile(ID) == published_profile(Path("x/AWARES-Qwen2.5-VL-7B"))
    assert published_profile(ID.lower()) == published_profile(ID) == PROFILES["readme"]
    assert published_profile("someone/else") is None
    assert published_profile(Path()) is None
    assert published_profile("nota-ai/ERGO-7B") == PROFILES["ergo"]


def test_the_client_is_named_where_it_is_missing(monkeypatch, tmp_path, capsys):
    find = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda n: None if n == "huggingface_hub" else find(n))
    assert main(["export", "some/folder", "-o", str(tmp_path / "b")]) == 2
    error = capsys.readouterr().err
    assert "some/folder is not a folder here" in error
    assert error.endswith("needs huggingface_hub: pip install huggingface-hub\n")


@pytest.fixture
def run(checkpoint, adapter, tmp_path):
    """`awares-edge export`, in a process of its own, with the real client and a stand-in hub."""
    pytest.importorskip("huggingface_hub")

    def files(folder):
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    with running_hub() as hub:
        hub.repositories = {ID: files(checkpoint), ADAPTER: files(adapter)}

        def run(*arguments, **environment):
            settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
            return subprocess.run(
                [sys.executable, "-m", "awares_edge", "export", *arguments],
                env={**os.environ, **settings, **environment},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                cwd=tmp_path,
            )

        yield run


@pytest.mark.slow
def test_an_export_from_the_hub(run, checkpoint, tmp_path):
    done = run(ID, "-o", "bundle", "--adapter", ADAPTER, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundle"] == "bundle"
    manifest = Bundle.open(tmp_path / "bundle").manifest
    assert manifest.provenance["hub"] == f"{ID}@{COMMIT}"
    assert manifest.provenance["adapter_hub"] == f"{ADAPTER}@{COMMIT}"
    assert manifest.model.layers == Checkpoint.open(checkpoint).spec.layers
    # Again without a connection: from the cache, to the same bytes.
    pinned = ["--revision", COMMIT, "--adapter", ADAPTER]
    offline = run(ID, "-o", "again", *pinned, HF_HUB_OFFLINE="1")
    assert (
        offline.stderr == "protocol: readme, as its model card shows; --protocol chooses another\n"
    )
    assert offline.returncode == 0, offline.stderr
    assert Bundle.open(tmp_path / "again").manifest == manifest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([ID], {"HF_HUB_OFFLINE": "1"}, "the hub cannot be reached, and Kimhi/AWARES"),
        (["nobody/nothing"], {}, "nobody/nothing is neither a folder here nor a public repository"),
        ([ID, "--revision", "v9"], {}, f"{ID} has no revision 'v9'"),
        ([ADAPTER], {}, "has no config.json"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(run, tmp_path, arguments, environment, message):
    done = run(*arguments, "-o", "bundle", **environment)
    assert (done.returncode, done.stdout) == (2, "")
    lines = [line for line in done.stderr.splitlines() if line.startswith("awares-edge: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()
