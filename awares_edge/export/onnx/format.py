"""Settings of the ONNX format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from awares_edge.export.base import ExportFormat, Written

if TYPE_CHECKING:
    from awares_edge.bundle.writer import BundleWriter
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.checkpoint.tensorfile import Weights


@dataclass(frozen=True)
class OnnxFormat(ExportFormat):
    """Graphs for the `onnx` runtime (onnxruntime).

    Attributes:
        precision: of the weights.
    """

    name: ClassVar[str] = "onnx"
    runtime: ClassVar[str] = "onnx"
    needs: ClassVar[tuple[str, ...]] = ("onnx",)
    extra: ClassVar[str] = "export"

    precision: Literal["fp32", "fp16"] = "fp32"

    def write(
        self, source: Checkpoint, weights: Weights, writer: BundleWriter, written: Written
    ) -> None:
        """Write graphs and weights."""
        from awares_edge.export.onnx.files import write_files

        write_files(source, weights, self.precision, writer, written)
