"""From a Hugging Face checkpoint to a bundle that a device runs without torch."""

from awares_edge.export.base import ExportFormat
from awares_edge.export.exporter import export_checkpoint
from awares_edge.export.gguf import GgufFormat
from awares_edge.export.onnx import OnnxFormat
from awares_edge.export.registry import FORMATS
from awares_edge.export.tensorrt import TensorrtFormat

__all__ = [
    "FORMATS",
    "ExportFormat",
    "GgufFormat",
    "OnnxFormat",
    "TensorrtFormat",
    "export_checkpoint",
]
