"""`awares-edge runtimes`, and --check: one real inference on each device, in its own process."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from awares_edge.apps import demo, device_check, runtimes
from awares_edge.apps.cli import main
from awares_edge.apps.device_check import check_device
from awares_edge.apps.smallest_model import write_smallest_checkpoint
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.runtimes.registry import Entry


def test_the_cpu_computes():
    found = check_device("onnx", "cpu")
    assert (found["result"], found["reason"]) == ("pass", "")


@pytest.mark.parametrize(
    ("runtime", "packages"), [("torch", ["torch", "transformers"]), ("llamacpp", ["llama_cpp"])]
)
def test_runtimes_without_a_model_of_their_own_compute_on_a_random_one(runtime, packages):
    for package in packages:
        pytest.importorskip(package)
    found = check_device(runtime, "cpu")
    assert (found["result"], found["reason"]) == ("pass", "")


def test_a_device_that_is_not_there_is_one_line():
    found = check_device("onnx", "cuda:7")
    assert found["result"] == "fail"
    assert "cuda:7" in found["reason"]
    assert "\n" not in found["reason"]


def test_what_computes_nothing_is_not_called_a_pass():
    assert check_device("null", "cpu")["result"] == "not checked"


def test_wrong_answers_are_a_failure(monkeypatch):
    wrong = [replace(sample, expected="something else") for sample in demo.load_samples()]
    monkeypatch.setattr(device_check, "load_samples", lambda: wrong)
    result, reason = device_check._embedded("onnx", "cpu")
    assert result == "fail"
    assert reason.endswith("in place of 'something else'")


def test_a_process_that_crashes_is_named_by_its_signal(monkeypatch):
    done = SimpleNamespace(stdout=b"", stderr=b"loading\nCUDA error 700\n", returncode=-11)
    monkeypatch.setattr(device_check.subprocess, "run", lambda *_, **__: done)
    found = check_device("onnx", "cuda")
    assert found["result"] == "fail"
    assert found["reason"] == "the process ended with SIGSEGV: CUDA error 700"


def test_a_process_that_hangs_is_ended():
    found = check_device("onnx", "cpu", limit_s=0.01)
    assert (found["result"], found["reason"]) == ("fail", "no answer within 0 s")


class TestCommand:
    @pytest.fixture
    def outcomes(self, monkeypatch):
        """What each device's check says; the others pass."""
        outcomes = {}

        def check(runtime, device):
            result, reason = outcomes.get(runtime, ("pass", ""))
            return {"result": result, "reason": reason, "seconds": 1.25}

        monkeypatch.setattr(runtimes, "check_device", check)
        return outcomes

    def test_every_listed_device_is_checked(self, outcomes, capsys):
        outcomes["null"] = ("not checked", "it computes nothing")
        assert main(["runtimes", "--check", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        for row in rows:
            assert [c["device"] for c in row.get("checks", [])] == row["devices"]

    def test_the_table_says_pass_or_why_not(self, outcomes, capsys):
        outcomes["onnx"] = ("fail", "CUDA error\x1b[2J")
        assert main(["runtimes", "--check"]) == 1
        printed = capsys.readouterr().out
        assert "fail: CUDA error\\x1b[2J" in printed
        assert main(["runtimes"]) == 0
        assert "one inference" not in capsys.readouterr().out

    def test_a_package_that_does_not_load_is_one_line(self, monkeypatch, capsys):
        def broken(_):
            raise OSError("libcudart.so.13: cannot open shared object file")

        monkeypatch.setattr(Entry, "backend", property(broken))
        assert main(["runtimes"]) == 0
        assert "onnx does not load: OSError: libcudart.so.13" in capsys.readouterr().out
        assert main(["runtimes", "--json"]) == 0
        assert not any(row["usable"] for row in json.loads(capsys.readouterr().out))


def test_the_smallest_checkpoint_is_whole(tmp_path):
    """Every tensor of the shape, finite: what exporters and transformers ask for."""
    checkpoint = Checkpoint.open(write_smallest_checkpoint(tmp_path / "checkpoint"))
    assert checkpoint.spec.layers == 2
    assert (tmp_path / "checkpoint" / "model.safetensors").stat().st_size < 10e6
