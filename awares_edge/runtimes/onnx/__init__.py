"""The `onnx` runtime: onnxruntime on CPU, CUDA or TensorRT, with the KV cache updated in place."""

from awares_edge.runtimes.onnx.devices import usable_devices
from awares_edge.runtimes.onnx.runtime import OnnxRuntime

__all__ = ["OnnxRuntime", "usable_devices"]
