"""A script: does a TensorRT binding have what the runtime calls? Prints one JSON object.

    python signatures.py MODULE [FOLDER]      MODULE is tensorrt or tensorrt_rtx

With a FOLDER (an unpacked bindings wheel) the libraries behind the bindings are stubs, compiled
here: enough to import them and to look, not to build or run.
"""

import ctypes
import importlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Every method that the runtime calls, and the names of the parameters it passes by position.
METHODS = {
    "Builder.create_network": ["flags"],
    "Builder.create_builder_config": [],
    "Builder.create_optimization_profile": [],
    "Builder.build_serialized_network": ["network", "config"],
    "OnnxParser.parse_from_file": ["model"],
    "OnnxParser.get_error": ["index"],
    "ParserError.desc": [],
    "INetworkDefinition.get_input": ["index"],
    "IOptimizationProfile.set_shape": ["input", "min", "opt", "max"],
    "IBuilderConfig.add_optimization_profile": ["profile"],
    "Runtime.deserialize_cuda_engine": ["serialized_engine"],
    "ICudaEngine.get_tensor_name": ["index"],
    "ICudaEngine.get_tensor_mode": ["name"],
    "ICudaEngine.get_tensor_shape": ["name"],
    "ICudaEngine.get_tensor_dtype": ["name"],
    "ICudaEngine.create_execution_context": ["strategy"],
    "IExecutionContext.set_optimization_profile_async": ["profile_index", "stream_handle"],
    "IExecutionContext.set_input_shape": ["name", "shape"],
    "IExecutionContext.set_tensor_address": ["name", "memory"],
    "IExecutionContext.execute_async_v3": ["stream_handle"],
}
RTX_METHODS = {"IBuilderConfig.set_compute_capability": ["compute_capability", "index"]}
ATTRIBUTES = [
    "ILogger.ERROR",
    "ILogger.INTERNAL_ERROR",
    "ILogger.WARNING",
    "IProgressMonitor.phase_start",
    "IProgressMonitor.step_complete",
    "IProgressMonitor.phase_finish",
    "OnnxParser.num_errors",
    "INetworkDefinition.num_inputs",
    "ITensor.name",
    "ITensor.shape",
    "IBuilderConfig.progress_monitor",
    "ICudaEngine.num_io_tensors",
    "ICudaEngine.num_optimization_profiles",
    "TensorIOMode.INPUT",
    "ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE",
]
RTX_ATTRIBUTES = [
    "IBuilderConfig.num_compute_capabilities",
    *(f"ComputeCapability.SM{sm}" for sm in (75, 86, 89, 120)),
]
DTYPES = ["FLOAT", "HALF", "BF16", "INT64", "INT32", "INT8", "BOOL"]
_LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")
_SYMBOL = re.compile(rb"\b(create\w+_INTERNAL|get\w+Registry|getNvOnnxParserVersion|initLib\w+)\b")


def stub_libraries(folder: Path, binary: Path) -> None:
    """Load empty libraries under the names that a binding asks for."""
    data = binary.read_bytes()
    names = sorted({match.decode() for match in _SYMBOL.findall(data)})
    (folder / "stub.c").write_text("".join(f"void *{name}() {{ return 0; }}\n" for name in names))
    for library in _LIBRARIES:
        match = re.search(rf"lib{library}\.so\.\d+".encode(), data)
        if match is None:
            continue
        soname = match[0].decode()
        target = folder / soname
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", str(target)]
        subprocess.run([*command, str(folder / "stub.c")], check=True)
        ctypes.CDLL(str(target), mode=ctypes.RTLD_GLOBAL)


def parameters(method) -> list[list[str]]:
    """Parameter names of each overload, from pybind11's docstring, `self` aside."""
    found = []
    for line in (method.__doc__ or "").splitlines():
        match = re.match(r"\s*(?:\d+\. )?\w+\((.*)\) ->", line)
        if match:
            names = re.findall(r"(?:^|, )(\w+):", match[1])
            found.append([name for name in names if name != "self"])
    return found


def look_up(module, path: str):
    value = module
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def check(module, *, rtx: bool) -> list[str]:
    """What is missing or different."""
    wrong = []
    for path, wanted in {**METHODS, **(RTX_METHODS if rtx else {})}.items():
        method = look_up(module, path)
        if method is None:
            wrong.append(f"{path} is missing")
        elif not any(names[: len(wanted)] == wanted for names in parameters(method)):
            wrong.append(f"{path} takes {parameters(method)}, not {wanted}")
    for path in [*ATTRIBUTES, *(RTX_ATTRIBUTES if rtx else [])]:
        if look_up(module, path) is None:
            wrong.append(f"{path} is missing")
    for name in DTYPES:
        dtype = getattr(module.DataType, name, None)
        # The runtime reads an engine's dtypes by this name.
        if str(dtype).rsplit(".", 1)[-1] != name:
            wrong.append(f"DataType.{name} reads {dtype}")
    return wrong


def main() -> None:
    name = sys.argv[1]
    with tempfile.TemporaryDirectory() as temporary:
        if len(sys.argv) > 2:
            folder = Path(sys.argv[2])
            stub_libraries(Path(temporary), folder / "tensorrt_bindings" / "tensorrt.so")
            sys.path.insert(0, str(folder / "tensorrt_bindings"))
        module = importlib.import_module(name)
        from awares_edge.runtimes.tensorrt.build import make_monitor
        from awares_edge.runtimes.tensorrt.product import Messages, make_logger

        messages, steps = Messages(), []
        make_logger(module, messages).log(module.ILogger.WARNING, "an  input is\nunused")
        monitor = make_monitor(module, "text", lambda *step: steps.append(step))
        monitor.phase_start("Building", None, 2)
        goes_on = monitor.step_complete("Building", 0)
        result = {
            "version": getattr(module, "__version__", "?"),
            "wrong": check(module, rtx="rtx" in name),
            "ignored": messages.ignored_inputs,
            "steps": steps,
            "goes_on": goes_on,
        }
        print(json.dumps(result))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
