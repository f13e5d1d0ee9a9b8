"""Export to TensorRT: typed ONNX graphs and a build plan. Engines are built on the target."""

from awares_edge.export.tensorrt.format import TensorrtFormat
from awares_edge.export.tensorrt.targets import TARGETS

__all__ = ["TARGETS", "TensorrtFormat"]
