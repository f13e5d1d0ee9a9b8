"""`evaluate` killed at random moments: no row is lost or repeated, and the summary is the same."""

import json
import signal
import time

import pytest

pytest.importorskip("pyarrow")

from tests.faults.conftest import duration, entries, finish, leftovers, moments, start, stop
from tests.support import published

KILLS = 20


@pytest.fixture
def data(tmp_path):
    published.write(tmp_path / "data", "pope", published.rows("pope", 60), group=7)
    return tmp_path


def command(folder, *more):
    modes = ["--modes", "awares,low", "--threads", 1]
    return ["evaluate", "pope", "--data", "data", *modes, "-o", folder, *more]


def rows(folder, mode):
    lines = (folder / "pope" / mode / "rows.jsonl").read_text().splitlines()
    return [{**json.loads(line), "ms": 0} for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_twenty_times_it_ends_with_the_same_bytes(number, data):
    seconds = duration(command("whole"), data)
    killed = 0
    for moment in moments(KILLS, seconds, seed=number):
        ended = stop(start(command("killed", "--resume"), data), number, moment)
        assert ended.code in (0, -number, 128 + number), ended.err
        killed += ended.code != 0
    finish(start(command("killed", "--resume"), data)).check(0)
    assert killed >= KILLS // 2
    for mode in ("awares", "low"):
        assert rows(data / "killed", mode) == rows(data / "whole", mode)
    for name in ("summary.json", "summary.md"):
        assert (data / "killed" / name).read_bytes() == (data / "whole" / name).read_bytes()
    assert number == signal.SIGKILL or leftovers(data) == []


def test_the_second_process_on_one_folder_refuses_in_one_line(data):
    first = start(command("out"), data)
    lock = data / "out" / ".lock"
    while not lock.exists() and first.poll() is None:
        time.sleep(0.01)
    second = finish(start(command("out", "--resume"), data))
    finish(first).check(0)
    second.check(2)
    assert second.err.count("\n") == 1
    assert "another process writes to out" in second.err
    assert len(rows(data / "out", "awares")) == 60


def test_a_full_disk_keeps_what_was_answered(data):
    ended = finish(start(command("out"), data, most_bytes=5000)).check(2)
    assert "rows.jsonl" in ended.err
    finish(start(command("out", "--resume"), data)).check(0)
    assert [row["index"] for row in rows(data / "out", "awares")] == list(range(60))
    assert [name for name in entries(data / "out") if name.endswith(".tmp")] == []
