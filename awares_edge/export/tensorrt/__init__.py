"""Export to TensorRT: typed ONNX graphs and a build plan. Engines are built on the target."""

from awares_edge.export.tensorrt.files import PRECISIONS, limit_profile, write_files
from awares_edge.export.tensorrt.targets import TARGETS

__all__ = ["PRECISIONS", "TARGETS", "limit_profile", "write_files"]
