"""One real inference on one device, in a separate process: a driver that crashes ends only that.

    python -m awares_edge.apps.device_check RUNTIME DEVICE

prints one line of JSON: {"result": "pass" | "fail" | "not checked", "reason", "seconds"}.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from awares_edge.api import load
from awares_edge.apps.demo import load_samples
from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.errors import AwaresError, RuntimeUnavailable
from awares_edge.evaluation.answers import is_right
from awares_edge.export.gguf.format import GgufFormat
from awares_edge.protocol import get_profile

PASS, FAIL, NOT_CHECKED = "pass", "fail", "not checked"
LIMIT_S = 120.0


def check_device(runtime: str, device: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Whether a device really computes.

    Returns:
        result ("pass", "fail" or "not checked"), reason (one line, empty for a pass) and seconds.
    """
    command = [sys.executable, "-m", "awares_edge.apps.device_check", runtime, device]
    start = perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return _outcome(FAIL, f"no answer within {limit_s:.0f} s", limit_s)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        why = _signal_name(done.returncode) or f"exit code {done.returncode}"
        reason = f"the process ended with {why}" + (f": {lines[-1]}" if lines else "")
        return _outcome(FAIL, reason, perf_counter() - start)
    return found


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(-code).name if code < 0 else ""
    except ValueError:
        return f"signal {-code}"


def _outcome(result: str, reason: str, seconds: float) -> dict[str, Any]:
    line = " ".join(reason.split())
    return {"result": result, "reason": line[:300], "seconds": round(seconds, 2)}


def _infer(runtime: str, device: str) -> dict[str, Any]:
    """Run the inference in this process."""
    start = perf_counter()
    if reason := _no_model(runtime):
        return _outcome(NOT_CHECKED, reason, 0)
    try:
        result, reason = _CHECKS[runtime](runtime, device)
    except (AwaresError, MemoryError) as error:
        result, reason = FAIL, str(error) or "not enough memory"
    except Exception as error:  # libraries raise their own
        result, reason = FAIL, f"{type(error).__name__}: {error}"
    return _outcome(result, reason, perf_counter() - start)


def _embedded(_: str, device: str) -> tuple[str, str]:
    """The embedded model must give the packaged samples' known answers."""
    with load(device=device, verify=False) as model:
        _check_device_name(model, device)
        for sample in load_samples()[:2]:  # one answered directly, one with a crop
            answer = model.ask(sample.path, sample.question)
            if not is_right(answer.text, sample.expected):
                return FAIL, f"a wrong answer: {answer.text!r} in place of {sample.expected!r}"
    return PASS, ""


def _random(runtime: str, device: str) -> tuple[str, str]:
    """The smallest random model must answer a question with a crop, over finite logits."""
    with _smallest(runtime, device) as model:
        _check_device_name(model, device)
        sample = load_samples()[0]
        model.ask(sample.path, sample.question, AskOptions(crops=("0",), max_new_tokens=4))
        with model.open(sample.path) as picture:
            picture.ask(sample.question, AskOptions(max_new_tokens=2))
        with model.open_session() as session:
            logits = session.decode(5)
        if not np.isfinite(logits).all() or logits.std() == 0:
            return FAIL, "logits that are not finite, or all the same"
    return PASS, ""


def _check_device_name(model: Model, device: str) -> None:
    kind = model.runtime.device.partition(":")[0]
    if kind != device.partition(":")[0]:
        raise AwaresError(f"it computed on {kind}")


@contextmanager
def _smallest(runtime: str, device: str) -> Iterator[Model]:
    from awares_edge.apps.smallest_model import write_smallest_checkpoint

    with TemporaryDirectory() as folder:
        path = write_smallest_checkpoint(Path(folder) / "checkpoint")
        if runtime != "torch":
            from awares_edge.export.exporter import export_checkpoint

            bundle, profile = Path(folder) / "bundle", get_profile("nano")
            path = export_checkpoint(path, bundle, format="gguf", profile=profile).root
        with load(path, runtime=runtime, protocol="nano", device=device, context=1024) as model:
            yield model


_CHECKS: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "onnx": _embedded,
    "torch": _random,
    "llamacpp": _random,
}


def _no_model(runtime: str) -> str:
    """Why this runtime cannot be checked: there is no model; empty if there is one."""
    if runtime == "llamacpp":
        try:
            GgufFormat.require()
        except RuntimeUnavailable as error:
            return str(error)
        return ""
    return {
        "null": "it computes nothing",
        "tensorrt": "engines are built for each GPU: awares-edge build-engine, awares-edge demo",
    }.get(runtime, "")


def main(arguments: list[str]) -> int:
    # Libraries may print to stdout: the result must not be mixed with that.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    channel.write(json.dumps(_infer(*arguments)) + "\n")
    channel.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
