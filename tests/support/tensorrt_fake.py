"""TensorRT and CUDA on a CPU, for tests of the adapter: host memory at real addresses, and engines
that onnxruntime computes. What is checked is the bookkeeping: shapes, addresses, copies, graphs,
profiles and lifetimes. No kernel of TensorRT runs here.
"""

from __future__ import annotations

import ctypes
import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx

import awares_edge
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.errors import SessionError
from awares_edge.protocol.tokenizer import TextTokenizer
from awares_edge.runtimes.tensorrt import build_engines, load_runtime
from awares_edge.runtimes.tensorrt.api import TensorRT
from awares_edge.runtimes.tensorrt.cpu import open_graph
from awares_edge.runtimes.tensorrt.cuda import Gpu
from awares_edge.runtimes.tensorrt.plan import Range
from awares_edge.spec import TOKENIZER_NAME
from tests.support.tensorrt_cpu import write_bundle

_KINDS = {
    onnx.TensorProto.FLOAT: ("FLOAT", np.float32),
    onnx.TensorProto.FLOAT16: ("HALF", np.float16),
    onnx.TensorProto.INT64: ("INT64", np.int64),
    onnx.TensorProto.INT32: ("INT32", np.int32),
    onnx.TensorProto.BOOL: ("BOOL", np.bool_),
}


class FakeCuda:
    """`awares_edge.runtimes.tensorrt.cuda.Cuda` over host memory.

    Attributes:
        live: allocations by address; empty when nothing leaks.
        launches, captures: of recorded graphs.
    """

    def __init__(self, capability: int = 87, *, can_capture: bool = True) -> None:
        self.stream = 1
        self.index = 0
        self.live: dict[int, np.ndarray] = {}
        self.launches = self.captures = 0
        self._capability = capability
        self._can_capture = can_capture
        self._recording: list | None = None

    def use(self):
        pass

    def gpu(self):
        return Gpu("Fake GPU", self._capability, 8 << 30)

    def allocate(self, size):
        block = np.zeros(max(size, 256), dtype=np.uint8)
        self.live[block.ctypes.data] = block
        return block.ctypes.data

    def free(self, address):
        del self.live[address]  # KeyError: freed twice, or never allocated

    def within(self, address, size):
        """Whether [address, address + size) lies in one allocation."""
        return any(
            start <= address and address + size <= start + block.size
            for start, block in self.live.items()
        )

    def upload(self, address, array):
        assert self._recording is None, "a copy from pageable memory inside a recording"
        assert array.flags.c_contiguous
        assert self.within(address, array.nbytes)
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, array, address):
        assert self.within(address, array.nbytes)
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def copy_rows(self, target, target_pitch, source, source_pitch, width, rows):
        assert width <= min(target_pitch, source_pitch)
        for row in range(rows):
            here, there = target + row * target_pitch, source + row * source_pitch
            assert self.within(here, width)
            assert self.within(there, width)
            ctypes.memmove(here, there, width)

    def synchronize(self):
        assert self._recording is None

    def run(self, work):
        """What an engine enqueues: done at once, or recorded."""
        if self._recording is not None:
            self._recording.append(work)
        else:
            work()

    def begin_capture(self):
        if not self._can_capture:
            raise SessionError("cudaStreamBeginCapture: cudaErrorNotSupported")
        self._recording = []

    def end_capture(self):
        if self._recording is None:
            raise SessionError("cudaStreamEndCapture: cudaErrorIllegalState")
        work, self._recording = self._recording, None
        self.captures += 1
        return work

    def launch(self, graph):
        self.launches += 1
        for work in graph:
            work()

    def free_graph(self, graph):
        graph.clear()

    def close(self):
        pass


class FakeEngine:
    """An engine whose blob is JSON: the graph's path and the profiles' shapes."""

    def __init__(self, cuda: FakeCuda, blob: bytes) -> None:
        body = json.loads(blob)
        self.cuda = cuda
        self.profiles = body["profiles"]
        path = Path(body["graph"])
        graph = onnx.load(path, load_external_data=False).graph
        self.session = open_graph(path)
        self.inputs = [value.name for value in graph.input]
        self.values = {value.name: value for value in (*graph.input, *graph.output)}
        self.num_io_tensors = len(self.values)
        self.num_optimization_profiles = len(self.profiles)

    def get_tensor_name(self, index):
        return list(self.values)[index]

    def get_tensor_mode(self, name):
        return "input" if name in self.inputs else "output"

    def get_tensor_shape(self, name):
        dims = self.values[name].type.tensor_type.shape.dim
        return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)

    def get_tensor_dtype(self, name):
        return "DataType." + _KINDS[self.values[name].type.tensor_type.elem_type][0]

    def dtype(self, name):
        return _KINDS[self.values[name].type.tensor_type.elem_type][1]

    def create_execution_context(self, strategy):
        assert strategy == "on profile change"
        return FakeContext(self)


class FakeContext:
    """Checks what TensorRT checks: shapes within the profile, every tensor bound."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.profile: dict = {}
        self.shapes: dict = {}
        self.addresses: dict = {}

    def set_optimization_profile_async(self, index, stream):
        assert stream == self.engine.cuda.stream
        self.profile = self.engine.profiles[index]
        return True

    def set_input_shape(self, name, shape):
        declared = self.engine.get_tensor_shape(name)
        if len(declared) != len(shape):
            return False
        low, _, high = self.profile.get(name, (declared,) * 3)
        for size, fixed, least, most in zip(shape, declared, low, high, strict=True):
            if not (fixed if fixed >= 0 else least) <= size <= (fixed if fixed >= 0 else most):
                return False
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name, address):
        if name not in self.engine.values:
            return False
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        engine = self.engine
        assert stream == engine.cuda.stream
        assert set(self.addresses) == set(engine.values), "a tensor is not bound"
        shapes, addresses = dict(self.shapes), dict(self.addresses)

        def work():
            feeds = {}
            for name in engine.inputs:
                shape = shapes.get(name, engine.get_tensor_shape(name))
                assert -1 not in shape, f"{name} has no shape"
                array = np.empty(shape, dtype=engine.dtype(name))
                engine.cuda.download(array, addresses[name])
                feeds[name] = array
            names = [output.name for output in engine.session.get_outputs()]
            for name, result in zip(names, engine.session.run(names, feeds), strict=True):
                result = np.ascontiguousarray(result)
                assert engine.cuda.within(addresses[name], result.nbytes)
                ctypes.memmove(addresses[name], result.ctypes.data, result.nbytes)

        engine.cuda.run(work)
        return True


class _Logger:
    ERROR, INTERNAL_ERROR, WARNING, INFO = range(4)

    def __init__(self):
        pass


class _Monitor:
    def __init__(self):
        pass


class _Parser:
    def __init__(self, network, logger):
        self.network, self.logger = network, logger
        self.num_errors = 0

    def parse_from_file(self, path):
        self.network.path = path
        graph = onnx.load(path, load_external_data=False).graph
        for value in graph.input:
            dims = value.type.tensor_type.shape.dim
            shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
            self.network.inputs.append(SimpleNamespace(name=value.name, shape=shape))
        for line in self.network.warnings:
            self.logger.log(_Logger.WARNING, line)
        return True


class _Network:
    def __init__(self, warnings):
        self.path, self.inputs, self.warnings = "", [], warnings

    @property
    def num_inputs(self):
        return len(self.inputs)

    def get_input(self, index):
        return self.inputs[index]


class _Profile(dict):
    def set_shape(self, name, low, middle, high):
        assert all(a <= b <= c for a, b, c in zip(low, middle, high, strict=True)), name
        self[name] = (low, middle, high)


class _Config:
    def __init__(self):
        self.profiles, self.timing, self.progress_monitor = [], None, None

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)

    def create_timing_cache(self, stored):
        return stored

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.timing = cache

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: self.timing + b"timed;")


def fake_tensorrt(cuda: FakeCuda, version: str = "10.15.1", *, warnings=(), rtx=False) -> TensorRT:
    """A product whose builds are counted in its module's `builds`."""
    builds: list[str] = []

    class Builder:
        def __init__(self, logger):
            self.logger = logger

        def create_network(self, flags):
            assert flags == 1
            return _Network(warnings)

        def create_builder_config(self):
            return _Config()

        def create_optimization_profile(self):
            return _Profile()

        def build_serialized_network(self, network, config):
            builds.append(Path(network.path).stem)
            if config.progress_monitor is not None:
                config.progress_monitor.phase_start("Building", None, 2)
                if not config.progress_monitor.step_complete("Building", 0):
                    return None
                config.progress_monitor.phase_finish("Building")
            return json.dumps({"graph": network.path, "profiles": config.profiles}).encode()

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, blob):
            blob = bytes(memoryview(blob))
            if not blob.startswith(b"{"):
                self.logger.log(_Logger.ERROR, "Version tag does not match")
                return None
            return FakeEngine(cuda, blob)

    module = SimpleNamespace(
        ILogger=_Logger,
        IProgressMonitor=_Monitor,
        OnnxParser=_Parser,
        Builder=Builder,
        Runtime=Runtime,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=0),
        TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"),
        ExecutionContextAllocationStrategy=SimpleNamespace(ON_PROFILE_CHANGE="on profile change"),
        builds=builds,
    )
    return TensorRT("tensorrt-rtx" if rtx else "tensorrt", version, module)


@contextmanager
def fake_model(source: Checkpoint, folder: Path, form: str, **changes):
    """A whole model on the stand-in: exported, "built", loaded; nothing may be left allocated."""
    sizes = {"cache_length": 1024, "prefill": Range(1, 128, 256), "kept": 8, **changes}
    bundle = write_bundle(folder / "bundle", source, form, "fp32", **sizes)
    cuda = FakeCuda()
    trt = fake_tensorrt(cuda, "10.15.1" if form == "trt-kv" else "10.3.0.26")
    build_engines(bundle, engines=folder / "engines", trt=trt, cuda=cuda)
    runtime = load_runtime(bundle, engines=folder / "engines", trt=trt, cuda=cuda)
    manifest = bundle.manifest
    model = awares_edge.Model(
        runtime,
        TextTokenizer.from_file(bundle.path(TOKENIZER_NAME)),
        manifest.tokens,
        manifest.protocol,
        manifest.preprocessing,
    )
    with model:
        yield model
