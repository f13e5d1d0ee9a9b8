"""The `tensorrt` runtime: engines built on the device, or ahead of time with TensorRT-RTX.

Nothing here imports TensorRT or CUDA before a bundle is loaded or built.
"""

from awares_edge.runtimes.tensorrt.build import Built, build_engines
from awares_edge.runtimes.tensorrt.device import usable_devices
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.runtimes.tensorrt.runtime import TensorrtRuntime, load, load_runtime

__all__ = [
    "Built",
    "Plan",
    "TensorrtRuntime",
    "build_engines",
    "load",
    "load_runtime",
    "usable_devices",
]
