"""Two commands with one output, and commands held to few cores."""

import os
import shutil

import pytest

from awares_edge.bundle import Bundle
from tests.faults.conftest import NANO, PICTURE, entries, finish, leftovers, start

EXPORT = ["export", NANO, "--protocol", "nano", "-o", "bundle"]


def race(folder, *commands):
    """Start commands together; how each ended."""
    return [finish(process) for process in [start(c, folder) for c in commands]]


def test_of_two_exports_to_one_new_folder_one_wins(tmp_path):
    pytest.importorskip("onnx")
    ended = race(tmp_path, EXPORT, [*EXPORT, "--precision", "fp16"])
    assert sorted(e.code for e in ended) == [0, 2]
    [won], [lost] = ([e for e in ended if e.code == code] for code in (0, 2))
    assert lost.check(2).err.count("\n") == 1
    assert "bundle exists" in lost.err or "by another program meanwhile" in lost.err
    precision = Bundle.open(tmp_path / "bundle").manifest.precision
    assert f"onnx, {precision}" in won.out.decode()
    assert leftovers(tmp_path) == []


@pytest.mark.slow
def test_exports_that_overwrite_each_other_leave_one_whole_bundle(tmp_path):
    pytest.importorskip("onnx")
    for _ in range(5):
        for ended in race(tmp_path, *[[*EXPORT, "--overwrite"]] * 3):
            ended.check(0, 2)
        Bundle.open(tmp_path / "bundle")
        assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_two_that_write_one_file_leave_one_of_the_two(tmp_path):
    command = ["evaluate", "synth", "--limit", "20", "--save", "out", "--seed"]
    for ended in race(tmp_path, [*command, "1"], [*command, "2"]):
        ended.check(0)
    assert len((tmp_path / "out").read_text().splitlines()) == 20
    assert entries(tmp_path) == {"out"}


@pytest.mark.skipif(not shutil.which("taskset"), reason="needs taskset")
def test_one_core_is_enough(run):
    core = min(os.sched_getaffinity(0))
    run("ask", PICTURE, "?", prefix=["taskset", "-c", str(core)]).check(0)
