"""The `onnx` runtime: onnxruntime on CPU, CUDA or TensorRT, with the KV cache updated in place."""

from awares_edge.bundle.store import Bundle
from awares_edge.runtimes.onnx.devices import usable_devices
from awares_edge.runtimes.onnx.runtime import OnnxRuntime
from awares_edge.runtimes.options import RuntimeOptions

__all__ = ["OnnxRuntime", "load", "usable_devices"]


def load(bundle: Bundle, options: RuntimeOptions) -> OnnxRuntime:
    """Load a bundle as the registry does."""
    return OnnxRuntime.load(
        bundle, device=options.device, threads=options.threads, context=options.context
    )
