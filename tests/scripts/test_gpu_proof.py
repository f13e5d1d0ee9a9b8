"""`scripts/gpu-proof`: stages that end, fail, crash or hang, and what is kept of each.

CI runs the whole of it with --rehearse; here its stages are small ones that go wrong on purpose.
"""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from awares_edge.errors import InputError
from scripts.gpu_proof import main as command
from scripts.gpu_proof import runner
from scripts.gpu_proof.gpu_memory import PeakMemory
from scripts.gpu_proof.record import Outcome, Record
from scripts.gpu_proof.report import markdown
from scripts.gpu_proof.runner import obstacle, run_stage
from scripts.gpu_proof.schedule import run_all
from scripts.gpu_proof.stages import FULL, REHEARSAL, Stage, all_stages

ABOUT = {"started": "now", "rehearsal": False, "device": "cuda", "budget_s": 9.0}
ABOUT |= {"gpu_memory": "measured"}


def runtimes_found(**devices):
    """The outcome of the first stage, where these runtimes have these devices."""
    rows = [
        {"name": name, "devices": found, "missing": [] if found else ["a_package"], "error": None}
        for name, found in devices.items()
    ]
    return {"runtimes": Outcome("done", result={"runtimes": rows})}


@pytest.fixture(autouse=True)
def _tasks(monkeypatch):
    monkeypatch.setattr(runner, "_WORKER", "tests.support.gpu_proof_tasks")


def stage(task, **arguments):
    return Stage(task, "parity", task, arguments, limit_s=60)


class TestStage:
    def test_its_result_is_kept(self, tmp_path):
        found = run_stage(stage("answer", value="WORK/model"), tmp_path, 60, None)
        assert found.state == "done"
        assert found.result == {"value": str(tmp_path / "model")}
        assert found.seconds > 0
        assert found.peak_gpu_bytes is None

    def test_a_fault_is_one_line_and_keeps_what_was_found(self, tmp_path):
        found = run_stage(stage("find_fault"), tmp_path, 60, None)
        assert (found.state, found.reason) == ("failed", "two of three differ")
        assert found.result == {"same": 1}

    def test_an_exception_is_named_and_its_traceback_kept(self, tmp_path):
        found = run_stage(stage("answer", wrong=1), tmp_path, 60, None)
        assert found.state == "failed"
        assert found.reason.startswith("TypeError: answer() got an unexpected keyword")
        assert "Traceback" in found.log

    def test_a_crash_is_named_with_the_last_words(self, tmp_path):
        found = run_stage(stage("crash"), tmp_path, 60, None)
        assert found.reason == "the process ended with SIGABRT: about to crash"

    def test_at_its_limit_it_is_ended_with_all_that_it_started(self, tmp_path):
        pid_file = tmp_path / "pid"
        found = run_stage(stage("hang", pid_file=str(pid_file)), tmp_path, 8, None)
        assert (found.state, found.reason) == ("failed", "stopped at its limit of 8 s")
        pid = int(pid_file.read_text())
        for _ in range(100):
            if not _lives(pid):
                return
            time.sleep(0.1)
        pytest.fail("the stage's own child outlived it")

    def test_an_interruption_ends_it(self, tmp_path):
        stop = threading.Event()
        stop.set()
        hanging = stage("hang", pid_file=str(tmp_path / "pid"))
        assert run_stage(hanging, tmp_path, 60, None, stop).reason == "interrupted"


def _lives(pid):
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestSchedule:
    """Stages are marked `beside` where they use only the CPU."""

    first, check, timed = stage("first"), stage("check"), replace(stage("timed"), task="profile")
    made = replace(stage("made"), beside=True)

    def test_models_are_made_while_checks_run(self):
        both = threading.Barrier(2, timeout=60)
        done = []

        def attempt(stage):
            if stage in (self.check, self.made):
                both.wait()
            done.append(stage.name)

        run_all((self.first, self.check, self.made, self.timed), attempt, pytest.fail)
        assert (done[0], done[-1]) == ("first", "timed")

    @pytest.mark.parametrize(
        ("waiting", "waits"),
        [(timed, True), (replace(check, after=("made",)), True), (check, False)],
    )
    def test_what_waits(self, waiting, waits):
        """A profile waits for all models, a check for those it needs."""
        begun, done = threading.Event(), []

        def attempt(stage):
            if stage is self.made:
                assert begun.wait(0.3 if waits else 60) != waits
            if stage is waiting:
                begun.set()
            done.append(stage.name)

        run_all((self.first, self.made, waiting), attempt, pytest.fail)
        assert (done[-1] == waiting.name) == waits

    def test_an_error_stops_what_runs_beside_and_what_waits(self):
        stopped, done = threading.Event(), []

        def attempt(stage):
            if stage is self.check:
                raise OSError("no space left")
            if stage is self.made:
                assert stopped.wait(60)
            done.append(stage.name)

        later = replace(self.made, name="later")
        with pytest.raises(OSError, match="no space"):
            run_all((self.first, self.made, later, self.check), attempt, stopped.set)
        assert done == ["first", "made"]


class TestObstacles:
    """Each is one line of the report."""

    usable = runtimes_found(onnx=["cuda", "cpu"], torch=["cpu"], llamacpp=[])

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"runtime": "onnx"}, ""),
            ({"runtime": "torch"}, "torch cannot use cuda here (it offers cpu)"),
            ({"runtime": "llamacpp"}, "not installed: a_package"),
            ({"packages": ("no_such_package", "json")}, "not installed: no_such_package"),
            ({"after": ("made",)}, ""),
            ({"after": ("made", "broken")}, "broken failed"),
            ({"after": ("skipped",)}, "skipped was not executed"),
        ],
    )
    def test_reason(self, changes, reason):
        outcomes = {
            **self.usable,
            "made": Outcome("done"),
            "broken": Outcome("failed", "why"),
            "skipped": Outcome("not executed", "why"),
        }
        assert obstacle(replace(stage("answer"), **changes), "cuda", outcomes) == reason

    def test_without_any_such_device_nothing_runs(self):
        found = obstacle(stage("answer"), "cuda", runtimes_found(onnx=["cpu"]))
        assert found == "no runtime can use cuda here"

    def test_a_package_that_does_not_load_is_named(self):
        outcomes = runtimes_found(onnx=["cuda"], torch=[])
        row = outcomes["runtimes"].result["runtimes"][1]
        row |= {"missing": [], "error": "OSError: libcudart.so.13"}
        found = obstacle(replace(stage("answer"), runtime="torch"), "cuda", outcomes)
        assert found == "torch does not load: OSError: libcudart.so.13"

    def test_a_device_with_a_number_counts(self):
        outcomes = runtimes_found(torch=["cuda:0", "cpu"])
        assert obstacle(replace(stage("answer"), runtime="torch"), "cuda", outcomes) == ""


class TestRecord:
    stages = (stage("first"), replace(stage("second"), makes="model"), stage("third"))

    @pytest.fixture
    def record(self, tmp_path):
        return Record(tmp_path / "out" / "gpu-proof.json", dict(ABOUT))

    def fill(self, record):
        record.add(self.stages, "first", Outcome("done", seconds=1.5, result={"a": 1}))
        record.add(self.stages, "second", Outcome("done"))
        record.add(self.stages, "third", Outcome("failed", "why"))

    def test_it_is_whole_after_every_stage(self, record, tmp_path):
        record.add(self.stages, "first", Outcome("done", result={"a": 1}))
        data = json.loads((tmp_path / "out" / "gpu-proof.json").read_text())
        assert data["counts"] == {"done": 1, "failed": 0, "not executed": 0}
        assert data["stages"][0]["result"] == {"a": 1}

    def test_resuming_keeps_what_is_done_and_still_there(self, record, tmp_path):
        self.fill(record)
        (tmp_path / "model").mkdir()
        again = Record(tmp_path / "out" / "gpu-proof.json", dict(ABOUT))
        again.resume(self.stages, tmp_path)
        assert again.outcomes["first"] == record.outcomes["first"]
        assert set(again.outcomes) == {"first", "second"}
        (tmp_path / "model").rmdir()
        again.outcomes.clear()
        again.resume(self.stages, tmp_path)
        assert set(again.outcomes) == {"first"}

    def test_a_run_with_other_settings_is_refused(self, record, tmp_path):
        self.fill(record)
        other = Record(tmp_path / "out" / "gpu-proof.json", {**ABOUT, "device": "cpu"})
        with pytest.raises(InputError, match="another run"):
            other.resume(self.stages, tmp_path)

    @pytest.mark.parametrize("text", ["{", "[]", '{"format": "awares-edge-gpu-proof"}'])
    def test_a_damaged_file_is_refused(self, record, tmp_path, text):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "gpu-proof.json").write_text(text)
        with pytest.raises(InputError, match="leave --resume out"):
            record.resume(self.stages, tmp_path)


class TestCommand:
    @pytest.fixture
    def run(self, monkeypatch, tmp_path):
        """Run the command over stages whose outcomes are given; its exit code and its data."""

        def run(states, *options):
            stages = [
                Stage("runtimes", "runtimes", "check_runtimes", {}, 60),
                *(Stage(name, "conformance", "t", {}, 60, runtime="onnx") for name in states),
            ]
            ran = []

            def finish(stage, work, limit_s, gpu_used, stop):
                ran.append(stage.name)
                if stage.name == "runtimes":
                    return Outcome("done", result=_first_result())
                return Outcome(states[stage.name], "why" * (states[stage.name] != "done"))

            monkeypatch.setattr(command, "all_stages", lambda _: stages)
            monkeypatch.setattr(command, "run_stage", finish)
            place = ["-o", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
            code = command.main([*place, *options])
            data = json.loads((tmp_path / "out" / "gpu-proof.json").read_text())
            return code, {row["stage"]: row["state"] for row in data["stages"]}, ran

        return run

    def test_all_that_ran_has_passed(self, run):
        assert run({"a": "done", "b": "done"})[0] == 0

    def test_a_failure_decides_the_exit_code_and_the_others_go_on(self, run):
        code, states, _ = run({"a": "failed", "b": "done"})
        assert code == 1
        assert states["b"] == "done"

    def test_a_spent_budget_is_said(self, run, tmp_path):
        code, states, ran = run({"a": "done"}, "--budget", "1")
        assert (code, ran) == (2, [])
        assert states == {"runtimes": "not executed", "a": "not executed"}
        assert "the time budget is spent" in (tmp_path / "out" / "gpu-proof.md").read_text()

    def test_a_stage_that_the_budget_cuts_short_has_not_failed(self, monkeypatch, tmp_path):
        def cut(stage, work, limit_s, gpu_used, stop):
            time.sleep(limit_s)
            return Outcome("failed", "stopped at its limit")

        monkeypatch.setattr(command, "_LEAST_S", 0.0)
        monkeypatch.setattr(command, "run_stage", cut)
        record = Record(tmp_path / "gpu-proof.json", dict(ABOUT))
        record.outcomes = runtimes_found(onnx=["cuda"])
        end = time.monotonic() + 0.1
        asked = (stage("answer"), FULL, record, tmp_path, end, None, threading.Event())
        found = command._attempt(*asked)
        assert (found.state, found.reason) == ("not executed", "the time budget is spent")

    def test_resuming_runs_what_is_not_done(self, run):
        run({"a": "done", "b": "failed"})
        code, _, ran = run({"a": "done", "b": "done"}, "--resume")
        assert (code, ran) == (0, ["b"])


def _first_result():
    check = {"device": "cuda", "result": "pass", "reason": "", "seconds": 1.0}
    row = {"name": "onnx", "devices": ["cuda"], "missing": [], "error": None, "checks": [check]}
    about = {"versions": {"torch": "2"}, "gpu": ["a GPU"], "machine": {"cpu": "a CPU"}}
    return {"runtimes": [row], **about}


def _profiled(total, mode="awares"):
    p50 = {"p50": total}
    names = ("total_ms", "ttft_ms", "tpot_ms", "tokens_per_s")
    return {"mode": mode, "figures": dict.fromkeys(names, p50), "peak_host_bytes": 5_000_000}


def test_the_page_says_ratios_reasons_and_logs():
    outcomes = {
        "runtimes": Outcome("done", result=_first_result()),
        "nano-transformers-fp32": Outcome("done", seconds=3, result=_profiled(90.0, "reference")),
        "nano-onnx-fp16": Outcome(
            "done", seconds=3, peak_gpu_bytes=7_000_000, result=_profiled(30.0)
        ),
        "nano-torch-fp32": Outcome("not executed", "not installed: torch"),
        "nano-llamacpp-f16": Outcome("failed", "a | b", log="some ``` words"),
    }
    record = Record(None, dict(ABOUT))
    record.outcomes = outcomes
    page = markdown(record.to_dict(all_stages(FULL)))
    assert "3 done, 1 failed, 1 not executed" in page
    assert "| onnx, fp16 | 30.0 | 30.0 | 30.00 | 30 | 3.00x | 7 | 5 | done in 3 s |" in page
    assert "**not executed**: not installed: torch" in page
    assert "**failed**: a \\| b" in page
    assert "some ~~~ words" in page


def test_the_peak_is_counted_from_the_start():
    sizes = iter([100, 150, 400, 120])
    seen = [100]

    def used():
        seen.append(next(sizes, 110))
        return seen[-1]

    with PeakMemory(used) as memory:
        while len(seen) < 7:
            time.sleep(0.01)
    assert memory.peak == 300


def test_the_rehearsal_has_the_same_stages_on_the_cpu():
    full, small = all_stages(FULL), all_stages(REHEARSAL)
    assert [s.name for s in full] == [s.name for s in small]
    assert len({s.name for s in full}) == len(full)
    assert not [s for s in full if s.beside and s.arguments.get("device", "cpu") != "cpu"]
    assert not [s for s in full if s.beside and s.timed]
    devices = {s.arguments["device"] for s in full if "device" in s.arguments}
    assert devices == {"cuda"}
    names = [s.name for s in full]
    for number, made in enumerate(full):
        assert all(names.index(needed) < number for needed in made.after)


def test_the_script_says_how_it_is_used():
    script = [sys.executable, str(runner.ROOT / "scripts" / "gpu-proof"), "--help"]
    assert "--rehearse" in subprocess.run(script, check=True, capture_output=True, text=True).stdout
