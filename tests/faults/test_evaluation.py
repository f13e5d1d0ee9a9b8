"""`evaluate` killed at random moments: no row is lost or repeated, and the summary is the same."""

import json
import signal
import time

import pytest

pytest.importorskip("pyarrow")

from tests.faults.conftest import HANG, entries, finish, leftovers, moments, start
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


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("rows.jsonl"))


def kill_at_work(process, folder, number, delay):
    """Send a signal `delay` seconds after the process has written something."""
    before, end = size(folder), time.monotonic() + HANG
    while size(folder) == before and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(number)
    return finish(process)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_twenty_times_it_ends_with_the_same_bytes(number, tmp_path):
    published.write(tmp_path / "data", "pope", published.rows("pope", 150), group=7)
    finish(start(command("whole"), tmp_path)).check(0)
    sizes = []
    for delay in moments(KILLS, 0.1, seed=number):
        process = start(command("killed", "--resume"), tmp_path)
        ended = kill_at_work(process, tmp_path / "killed", number, delay)
        assert ended.code in (-number, 128 + number), ended.err
        sizes.append(size(tmp_path / "killed"))
    assert len(set(sizes)) == KILLS, sizes
    finish(start(command("killed", "--resume"), tmp_path)).check(0)
    for mode in ("awares", "low"):
        assert rows(tmp_path / "killed", mode) == rows(tmp_path / "whole", mode)
    for name in ("summary.json", "summary.md"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert number == signal.SIGKILL or leftovers(tmp_path) == []


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
