"""Disks that are full and folders that may not be written to or read."""

import os
import shutil
import subprocess

import pytest

import awares_edge
from awares_edge.bundle import Bundle
from tests.faults.conftest import NANO, PICTURE, duration, entries, shell

EXPORT = ["export", NANO, "--protocol", "nano", "-o"]


WRITERS = {
    "ask": (["ask", PICTURE, "?", "--save-view", "out"], 1000),
    "demo": (["demo", "-o", "out"], 1000),
    "evaluate": (["evaluate", "synth", "--limit", "20", "--save", "out"], 1000),
    "export": ([*EXPORT, "out"], 1_000_000),
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_file_that_cannot_grow_is_not_left_behind(command, run, tmp_path):
    arguments, most = WRITERS[command]
    if command == "export":
        pytest.importorskip("onnx")
    done = run(*arguments, most_bytes=most).check(2)
    assert "File too large" in done.err
    assert "out" in done.err
    assert entries(tmp_path) == set()


@pytest.mark.parametrize("command", ["ask", "demo", "evaluate"])
def test_a_file_that_cannot_grow_leaves_the_old_one_and_the_answer(command, run, tmp_path):
    (tmp_path / "out").write_text("old")
    arguments, most = WRITERS[command]
    assert run(*arguments, most_bytes=most).check(2).out
    assert (tmp_path / "out").read_text() == "old"
    assert entries(tmp_path) == {"out"}


@pytest.mark.slow
def test_an_export_stops_in_order_wherever_the_disk_fills(run, tmp_path):
    pytest.importorskip("onnx")
    duration([*EXPORT, "bundle"], tmp_path)
    largest = max(p.stat().st_size for p in (tmp_path / "bundle").iterdir())
    before = entries(tmp_path)
    for part in range(10):
        done = run(*EXPORT, "bundle", "--overwrite", most_bytes=largest * part // 10).check(2)
        assert done.err.count("\n") == 1
        assert entries(tmp_path) == before
        Bundle.open(tmp_path / "bundle")


@pytest.mark.slow
def test_a_full_disk_is_named(tmp_path):
    """On a file system of 1 MB, in a mount namespace of its own."""
    pytest.importorskip("onnx")
    mounted = "unshare --mount bash -c 'mount -t tmpfs -o size=1m tmpfs . && cd $PWD && {}'"
    trial = subprocess.run(["bash", "-c", mounted.format("true")], cwd=tmp_path, check=False)
    if trial.returncode:
        pytest.skip("this user may not mount a file system")
    export = "$A export $NANO --protocol nano -o bundle; code=$?; ls -A; exit $code"
    done = shell(mounted.format(export), tmp_path).check(2)
    assert "no space left for bundle" in done.err or "out of disk" in done.err
    assert done.out == b""


# Root with its right to ignore permissions taken away is held to them as its files' owner.
HELD = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.fixture
def held(run):
    """Run a command as a user whom permissions bind."""
    prefix = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root without setpriv: permissions do not apply to root")
        prefix = HELD
        if subprocess.run([*HELD, "true"], check=False).returncode:
            pytest.skip("root that cannot give up its rights: permissions do not apply to root")
    return lambda *arguments: run(*arguments, prefix=prefix)


@pytest.mark.parametrize("command", WRITERS)
def test_a_folder_that_may_not_be_written_to_is_found_before_the_work(command, held, tmp_path):
    if command == "export":
        pytest.importorskip("onnx")
    folder = tmp_path / "out"
    folder.mkdir(0o500)
    arguments = [*WRITERS[command][0][:-1], "out/file.png"]
    done = held(*arguments).check(2)
    assert done.out == b""
    assert done.err.startswith("awares-edge: cannot write ")
    assert "Permission denied" in done.err
    assert entries(tmp_path) == {"out"}


@pytest.mark.parametrize("closed", ["bundle", "bundle/manifest.json", "bundle/tokenizer.json"])
def test_a_bundle_that_may_not_be_read_is_not_called_damaged(closed, held, tmp_path):
    shutil.copytree(awares_edge.embedded_bundle(), tmp_path / "bundle")
    (tmp_path / closed).chmod(0)
    done = held("inspect", "bundle").check(2)
    (tmp_path / closed).chmod(0o700)
    assert "damaged" not in done.err
    assert "corrupt" not in done.err
    assert "Permission denied" in done.err or "not readable" in done.err


def test_a_picture_that_may_not_be_read_is_not_called_damaged(held, tmp_path):
    shutil.copy(PICTURE, tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    assert "a.png" in (err := held("ask", "a.png", "?").check(2).err)
    assert "permission denied" in err or "not readable" in err
