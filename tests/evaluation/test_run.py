"""A run writes each row once, whatever stops it, and its parts make the whole."""

import fcntl
import json
import threading
from dataclasses import replace

import pytest
from PIL import Image

pytest.importorskip("pyarrow")

import awares_edge
from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks import get_benchmark
from awares_edge.evaluation.modes import MODES
from awares_edge.evaluation.run.folder import RowLog, locked, pin
from awares_edge.evaluation.run.merge import merge_shards
from awares_edge.evaluation.run.prefetch import _Waiting, prepared
from awares_edge.evaluation.run.results import write_results
from awares_edge.evaluation.run.rows import Row, read_rows
from awares_edge.evaluation.run.runner import run_suite
from awares_edge.evaluation.suites import OwnSuite, PublishedSuite, Selection, SynthSuite
from tests.support import published

COUNT = 10


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return published.write(folder, "pope", published.rows("pope", COUNT), group=2)


def run(root, suite, model, mode="awares", selection=None, **options):
    """Begin or go on with one run, as the command does."""
    selection = selection or Selection()
    folder = root / suite.name / mode
    folder.mkdir(parents=True, exist_ok=True)
    who = {"name": "x", "runtime": "null", "precision": "none", "protocol": "paper"}
    pin(root, {"format": 1, "model": who, "scorer": "0.7.2"})
    shard = f"{selection.shard}/{selection.shards}"
    settings = {"suite": suite.name, "mode": mode, "data": suite.pins(), "rows": suite.count}
    pin(folder, {**settings, "limit": selection.limit, "shard": shard})
    with RowLog(folder, selection) as log:
        return run_suite(model, suite, mode, log, selection, "0.7.2", **options)


def rows_of(root, suite="pope", mode="awares"):
    return [replace(row, ms=0.0) for row in read_rows(root / suite / mode / "rows.jsonl")]


def pope(files):
    return PublishedSuite(get_benchmark("pope"), files)


@pytest.fixture
def whole(files, answering, tmp_path):
    """A finished run of a model that always says yes."""
    with answering("yes") as model:
        run(tmp_path / "whole", pope(files), model)
    return tmp_path / "whole"


def test_a_row_says_what_was_asked_answered_and_spent(files, tmp_path):
    with awares_edge.scripted(["GET_CROPS: ['1']", " Yes "]) as model:
        run(tmp_path, pope(files), model, selection=Selection(limit=1))
    [row] = rows_of(tmp_path)
    low, high = row.visual_tokens.low, row.visual_tokens.full
    assert (row.index, row.id, row.status, row.reason) == (0, "0", "ok", "")
    assert (row.prediction, row.references, row.score) == ("Yes", ("yes",), 1.0)
    assert (row.crops, row.boxes) == (("1",), ((112, 0, 224, 112),))
    assert row.call_status == "ok"
    assert row.rtr == round((low + row.visual_tokens.crops) / high, 6)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_no_row(workers, files, whole, answering, tmp_path):
    with answering("yes") as model:
        spent = run(tmp_path / "w", pope(files), model, workers=workers)
    assert rows_of(tmp_path / "w") == rows_of(whole)
    assert spent.asked == COUNT
    assert not _named("decode", "read")


def _named(*names):
    return [t for t in threading.enumerate() if t.name.startswith(names)]


@pytest.mark.parametrize("cut", [0, 1, 40, 1000, 1700])
def test_a_run_goes_on_after_its_last_complete_row(cut, files, whole, answering, tmp_path):
    path = whole / "pope" / "awares" / "rows.jsonl"
    expected, data = rows_of(whole), path.read_bytes()
    path.write_bytes(data[:cut])
    kept = data[:cut].count(b"\n")
    with answering("yes") as model:
        spent = run(whole, pope(files), model)
    assert spent.asked == COUNT - kept
    assert rows_of(whole) == expected


def test_a_finished_run_asks_nothing(files, whole):
    before = (whole / "pope" / "awares" / "rows.jsonl").read_bytes()
    with awares_edge.scripted([]) as model:
        assert run(whole, pope(files), model).asked == 0
    assert (whole / "pope" / "awares" / "rows.jsonl").read_bytes() == before


@pytest.mark.parametrize("change", ["lost", "twice", "order", "damaged"])
def test_rows_that_were_changed_are_found(change, files, whole):
    path = whole / "pope" / "awares" / "rows.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "lost": lines[:3] + lines[4:],
        "twice": lines[:3] + lines[2:],
        "order": [lines[1], lines[0], *lines[2:]],
        "damaged": [lines[0], b'{"index": 1}\n', *lines[2:]],
    }[change]
    path.write_bytes(b"".join(changed))
    with awares_edge.scripted([]) as model, pytest.raises(InputError, match=r"rows\.jsonl, line"):
        run(whole, pope(files), model)
    assert path.read_bytes() == b"".join(changed)


def test_a_run_is_held_to_its_settings(files, whole, tmp_path):
    with awares_edge.scripted([]) as model:
        with pytest.raises(InputError, match="begun with another limit \\(null, now 3\\)"):
            run(whole, pope(files), model, selection=Selection(limit=3))
        with pytest.raises(InputError, match="another shard"):
            run(whole, pope(files), model, selection=Selection(shard=1, shards=2))
        other = published.write(tmp_path, "pope", published.rows("pope", COUNT - 1))
        with pytest.raises(InputError, match="another data"):
            run(whole, pope(other), model)
    with pytest.raises(InputError, match="another scorer"):
        pin(whole, {**json.loads((whole / "settings.json").read_text()), "scorer": "0.6.1"})


def test_rows_that_cannot_be_asked_are_written_as_failed(answering, tmp_path):
    data = published.rows("pope", 6)
    data[0]["image"]["bytes"] = b"not a picture"
    data[2]["answer"] = None
    data[3]["question"] = "x" * 200_000
    suite = pope(published.write(tmp_path / "data", "pope", data))
    with answering("yes") as model:
        run(tmp_path / "out", suite, model)
    rows = rows_of(tmp_path / "out")
    assert [row.status for row in rows] == ["failed", "ok", "failed", "failed", "ok", "ok"]
    assert "is not a readable" in rows[0].reason
    assert "'answer' must be text" in rows[2].reason
    assert rows[3].reason
    summary, _ = write_results(tmp_path / "out")
    [numbers] = summary["runs"]
    assert (numbers["questions"], numbers["failed"], numbers["complete"]) == (3, 3, True)
    assert numbers["score"] == pytest.approx(1 / 3, abs=1e-4)


def test_a_missing_picture_of_an_own_question_is_a_failed_row(answering, tmp_path):
    (tmp_path / "a.png").write_bytes(published.picture(0))
    lines = [{"image": name, "question": "?", "answer": "yes"} for name in ("b.png", "a.png")]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    with answering("yes") as model:
        run(tmp_path / "out", OwnSuite(path), model)
    first, second = rows_of(tmp_path / "out", "own-mine")
    assert (first.status, second.status) == ("failed", "ok")
    assert "b.png" in first.reason


@pytest.mark.parametrize("mode", [m for m in MODES if m != "oracle-crop"])
def test_benchmarks_run_in_every_mode_that_needs_no_evidence(mode, files, answering, tmp_path):
    with answering("GET_CROPS: ['2']", "yes") as model:
        run(tmp_path, pope(files), model, mode, Selection(limit=2))
    expected = {"awares": ("2",), "full": (), "low": (), "always-full": ("all",)}
    for row in rows_of(tmp_path, mode=mode):
        assert row.status == "ok"
        assert row.crops == expected.get(mode, row.crops)
        assert len(row.crops) == (0 if mode in ("full", "low") else 1)


def test_evidence_is_asked_for_where_there_is_none(files, answering, tmp_path):
    with answering("yes") as model, pytest.raises(InputError, match="and pope does not say"):
        run(tmp_path, pope(files), model, "oracle-crop")


def test_evidence_of_the_synthetic_suite_decides_the_crops(answering, tmp_path):
    suite = SynthSuite(limit=12)
    with answering("x") as model:
        run(tmp_path, suite, model, "oracle-crop")
    rows = rows_of(tmp_path, "synth", "oracle-crop")
    assert [",".join(row.crops) for row in rows] == [row.facts["crops"] for row in rows]
    assert any(row.crops for row in rows)


@pytest.mark.parametrize("shards", [2, 3, 12])
def test_shards_merge_to_the_numbers_of_the_whole(shards, files, whole, answering, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in range(shards)]
    for i, folder in enumerate(folders):
        with answering("yes") as model:
            run(folder, pope(files), model, selection=Selection(shard=i + 1, shards=shards))
    merge_shards(folders[::-1], tmp_path / "merged")
    assert rows_of(tmp_path / "merged") == rows_of(whole)
    write_results(whole)
    write_results(tmp_path / "merged")
    for name in ("summary.json", "summary.md"):
        assert (whole / name).read_bytes() == (tmp_path / "merged" / name).read_bytes()


def test_shards_must_be_complete_and_of_one_run(files, whole, answering, tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    for i, folder in enumerate((first, second)):
        with answering("yes") as model:
            run(folder, pope(files), model, selection=Selection(shard=i + 1, shards=2))
    with pytest.raises(InputError, match="not complete: got 1/2"):
        merge_shards([first], tmp_path / "a")
    with pytest.raises(InputError, match="not complete: got 1/2, 1/2"):
        merge_shards([first, first], tmp_path / "b")
    with pytest.raises(InputError, match="not complete: got 1/2, 1/1"):
        merge_shards([first, whole], tmp_path / "c")
    with pytest.raises(InputError, match="holds results already"):
        merge_shards([first, second], whole)
    path = second / "pope" / "awares" / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="4 of 5 rows"):
        merge_shards([first, second], tmp_path / "d")
    assert not (tmp_path / "d" / "pope").exists()


def test_a_folder_belongs_to_one_process(tmp_path):
    with locked(tmp_path):
        taken = pytest.raises(InputError, match="another process writes to")
        with taken, locked(tmp_path):
            pass
    with (tmp_path / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("side", "most"), [(224, 16), (3000, 4)])
def test_reading_ahead_is_bounded_by_number_and_size_and_stops_with_the_run(side, most):
    read = []

    class Counted(SynthSuite):
        def decode(self, question):
            read.append(question.id)
            return Image.new("RGB", (side, side))

    rows = prepared(Counted(limit=500), Selection(), 2)
    next(rows)
    threading.Event().wait(0.5)
    # One taken, those that wait, one that is being put.
    assert 4 <= len(read) <= most + 2
    rows.close()
    assert not _named("decode", "read")


def test_the_reading_thread_sleeps_until_most_of_what_waits_is_used():
    waiting = _Waiting(8)
    filled = threading.Event()

    def fill():
        for number in range(16):
            waiting.put(number)
            if number == 7:
                filled.set()

    filler = threading.Thread(target=fill)
    filler.start()
    filled.wait()
    taken = [waiting.get() for _ in range(5)]
    assert len(waiting) == 3  # nothing was added meanwhile
    taken += [waiting.get() for _ in range(11)]
    filler.join()
    assert taken == list(range(16))


def test_a_row_that_does_not_reach_the_disk_is_an_error(monkeypatch, tmp_path):
    def broken(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("awares_edge.evaluation.run.sync.os.fsync", broken)
    log = RowLog(tmp_path, Selection())
    log.append(Row(0, "0", "failed", reason="x"))
    with pytest.raises(OSError, match="Input/output error"), log:
        pass
    assert [row.index for row in read_rows(tmp_path / "rows.jsonl")] == [0]


def test_errors_of_the_data_reach_the_caller():
    class Broken(SynthSuite):
        def read(self, selection):
            yield from list(super().read(Selection(limit=2)))
            raise InputError("the disk is gone")

    rows = prepared(Broken(limit=5), Selection(), 2)
    assert [next(rows).index, next(rows).index] == [0, 1]
    with pytest.raises(InputError, match="the disk is gone"):
        next(rows)


def test_a_row_is_one_line_of_ascii_and_reads_back():
    facts = {"question": "né\n猫\x1b[2J\u2028"}
    row = Row(3, "a\nb", "ok", prediction="\x00é", references=("x",), facts=facts, score=0.5)
    line = row.to_line()
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert Row.from_line(line, "row") == row
