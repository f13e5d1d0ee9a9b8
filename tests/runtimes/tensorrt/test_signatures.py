"""The names and parameters that the runtime uses, against real bindings."""

import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from awares_edge.errors import RuntimeUnavailable
from awares_edge.runtimes.tensorrt import device

SCRIPT = Path(__file__).parent / "signatures.py"
FOLDER = os.environ.get("AWARES_EDGE_TENSORRT_BINDINGS")
WHEELS = sorted(p.parent for p in Path(FOLDER).glob("*/tensorrt_bindings")) if FOLDER else []
HOW = "no TensorRT bindings: scripts/tensorrt-bindings FOLDER, AWARES_EDGE_TENSORRT_BINDINGS=FOLDER"


def run(*arguments):
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def assert_usable(result):
    assert result["wrong"] == []
    assert result["ignored"] == ["an input is unused"]
    assert result["steps"] == [["text: Building", 0, 2], ["text: Building", 1, 2]]
    assert result["goes_on"] is True


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the stub libraries")
@pytest.mark.skipif(not WHEELS, reason=HOW)
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda path: path.name)
def test_full_tensorrt(wheel):
    assert_usable(run("tensorrt", str(wheel)))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)
def test_tensorrt_rtx():
    assert_usable(run("tensorrt_rtx"))


@pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="cuda-python is not installed")
def test_cuda_python():
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python before 12.6")
    source = inspect.getsource(device)
    calls = set(re.findall(r'_call\(\s*"(cuda\w+)"', source)) | {"cudaStreamDestroy"}
    assert len(calls) == 10
    for name in calls:
        assert hasattr(runtime, name), name
    for kind in ("HostToDevice", "DeviceToHost", "DeviceToDevice"):
        assert hasattr(runtime.cudaMemcpyKind, f"cudaMemcpy{kind}")
    # A device index that does not exist, or no driver at all: an error that is a status.
    with pytest.raises(RuntimeUnavailable, match="no usable NVIDIA GPU 99"):
        device.Cuda(99)


def test_the_check_can_fail():
    spec = importlib.util.spec_from_file_location("signatures", SCRIPT)
    signatures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(signatures)

    class Runtime:
        def deserialize_cuda_engine(self, blob):
            """deserialize_cuda_engine(self: Runtime, blob: bytes) -> ICudaEngine"""

    class Module:
        DataType = type("DataType", (), {})

    Module.Runtime = Runtime
    wrong = signatures.check(Module, rtx=False)
    assert "Builder.create_network is missing" in wrong
    taken = "Runtime.deserialize_cuda_engine takes [['blob']], not ['serialized_engine']"
    assert taken in wrong
