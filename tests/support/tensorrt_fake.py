"""TensorRT and the CUDA runtime on a CPU: host memory at real addresses, engines that onnxruntime
computes. What is checked is the bookkeeping: shapes, addresses, copies, profiles and lifetimes. No
kernel of TensorRT runs here.
"""
# ruff: noqa: N802, N815 (names of the CUDA runtime)

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort

from awares_edge.runtimes.tensorrt.product import TensorRT


class FakeCudart:
    """cuda-python's runtime module over host memory; everything is done at once.

    Attributes:
        live: allocations by address; empty when nothing leaks.
    """

    cudaMemcpyKind = SimpleNamespace(
        cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down", cudaMemcpyDeviceToDevice="in"
    )
    STREAM = 1

    def __init__(self, capability: int = 87) -> None:
        self.live: dict[int, np.ndarray] = {}
        major, minor = divmod(capability, 10)
        self._gpu = SimpleNamespace(name=b"Fake GPU", major=major, minor=minor)

    def cudaSetDevice(self, index):
        return (0,)

    def cudaStreamCreate(self):
        return 0, self.STREAM

    def cudaStreamDestroy(self, stream):
        return (0,)

    def cudaStreamSynchronize(self, stream):
        assert stream == self.STREAM
        return (0,)

    def cudaGetDeviceProperties(self, index):
        return 0, self._gpu

    def cudaMalloc(self, size):
        block = np.full(size, 0xFF, dtype=np.uint8)  # NaN in every float type
        self.live[block.ctypes.data] = block
        return 0, block.ctypes.data

    def cudaMemset(self, address, value, size):
        self.live[address][:size] = value
        return (0,)

    def cudaFree(self, address):
        del self.live[address]  # KeyError: freed twice, or never allocated
        return (0,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        assert stream == self.STREAM
        assert self.within({"up": target, "down": source}[kind], size)
        ctypes.memmove(target, source, size)
        return (0,)

    def cudaMemcpy2DAsync(self, target, to_pitch, source, from_pitch, width, rows, kind, stream):
        assert (kind, stream) == ("in", self.STREAM)
        assert width <= min(to_pitch, from_pitch)
        for row in range(rows):
            here, there = target + row * to_pitch, source + row * from_pitch
            assert self.within(here, width)
            assert self.within(there, width)
            ctypes.memmove(here, there, width)
        return (0,)

    def within(self, address, size):
        """Whether [address, address + size) lies in one allocation."""
        return any(
            start <= address and address + size <= start + block.size
            for start, block in self.live.items()
        )


class FakeEngine:
    """An engine whose blob is JSON: the graph's path and the profiles' shapes."""

    def __init__(self, cudart: FakeCudart, blob: bytes) -> None:
        body = json.loads(blob)
        self.cudart = cudart
        self.profiles = body["profiles"]
        path = Path(body["graph"])
        graph = onnx.load(path, load_external_data=False).graph
        self.session = _open(path)
        self.inputs = [value.name for value in graph.input]
        self.values = {value.name: value for value in (*graph.input, *graph.output)}
        self.num_io_tensors = len(self.values)
        self.num_optimization_profiles = len(self.profiles)

    def get_tensor_name(self, index):
        return list(self.values)[index]

    def get_tensor_mode(self, name):
        return "input" if name in self.inputs else "output"

    def get_tensor_shape(self, name):
        return _shape(self.values[name])

    def get_tensor_dtype(self, name):
        kind = onnx.TensorProto.DataType.Name(self.values[name].type.tensor_type.elem_type)
        return "DataType." + {"FLOAT16": "HALF"}.get(kind, kind)

    def dtype(self, name):
        return onnx.helper.tensor_dtype_to_np_dtype(self.values[name].type.tensor_type.elem_type)

    def create_execution_context(self, strategy):
        assert strategy == "on profile change"
        return FakeContext(self)


class FakeContext:
    """Checks what TensorRT checks: shapes within the profile, every tensor bound and in bounds."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.profile: dict = {}
        self.shapes: dict = {}
        self.addresses: dict = {}

    def set_optimization_profile_async(self, index, stream):
        assert stream == FakeCudart.STREAM
        self.profile = self.engine.profiles[index]
        return True

    def set_input_shape(self, name, shape):
        declared = self.engine.get_tensor_shape(name)
        low, _, high = self.profile.get(name, (declared,) * 3)
        if len(declared) != len(shape):
            return False
        for size, fixed, least, most in zip(shape, declared, low, high, strict=True):
            if not (fixed if fixed >= 0 else least) <= size <= (fixed if fixed >= 0 else most):
                return False
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return name in self.engine.values

    def execute_async_v3(self, stream):
        engine, within = self.engine, self.engine.cudart.within
        assert stream == FakeCudart.STREAM
        assert set(self.addresses) == set(engine.values), "a tensor is not bound"
        feed = {}
        for name in engine.inputs:
            value = np.empty(self.shapes[name], dtype=engine.dtype(name))
            assert within(self.addresses[name], value.nbytes)
            ctypes.memmove(value.ctypes.data, self.addresses[name], value.nbytes)
            feed[name] = value
        names = [name for name in engine.values if name not in engine.inputs]
        for name, result in zip(names, engine.session.run(names, feed), strict=True):
            array = np.ascontiguousarray(result, dtype=engine.dtype(name))
            assert within(self.addresses[name], array.nbytes)
            ctypes.memmove(self.addresses[name], array.ctypes.data, array.nbytes)
        return True


class _Logger:
    ERROR, INTERNAL_ERROR, WARNING, INFO = range(4)


class _Network:
    """An ONNX graph's inputs; filled by the parser."""

    def __init__(self):
        self.path, self.inputs = "", []

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
        self.profiles, self.progress_monitor = [], None

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)


class _Builder:
    def __init__(self, logger):
        self.create_builder_config = _Config
        self.create_optimization_profile = _Profile

    def create_network(self, flags):
        assert flags == 1
        return _Network()

    def build_serialized_network(self, network, config):
        if (monitor := config.progress_monitor) is not None:
            monitor.phase_start("Building", None, 2)
            if not monitor.step_complete("Building", 0):
                return None
            monitor.phase_finish("Building")
        return json.dumps({"graph": network.path, "profiles": config.profiles}).encode()


def _open(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Compute quantized graphs as they are written: its own rewriting of them breaks fp8.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _shape(value):
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)


def fake_tensorrt(cudart: FakeCudart, version: str = "10.3.0.26", *, warnings=()) -> TensorRT:
    """A product that logs `warnings` when it parses; its module's `parsed` lists the graphs."""
    parsed: list[str] = []

    class Parser:
        def __init__(self, network, logger):
            self.network, self.logger = network, logger

        def parse_from_file(self, path):
            parsed.append(Path(path).stem)
            self.network.path = path
            for value in onnx.load(path, load_external_data=False).graph.input:
                self.network.inputs.append(SimpleNamespace(name=value.name, shape=_shape(value)))
            for line in warnings:
                self.logger.log(_Logger.WARNING, line)
            return True

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, blob):
            blob = bytes(memoryview(blob))
            if not blob.startswith(b"{"):
                self.logger.log(_Logger.ERROR, "Version tag does not match")
                return None
            return FakeEngine(cudart, blob)

    module = SimpleNamespace(
        ILogger=_Logger,
        IProgressMonitor=object,
        OnnxParser=Parser,
        Builder=_Builder,
        Runtime=Runtime,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=0),
        TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"),
        ExecutionContextAllocationStrategy=SimpleNamespace(ON_PROFILE_CHANGE="on profile change"),
        parsed=parsed,
    )
    return TensorRT("tensorrt", version, module)
