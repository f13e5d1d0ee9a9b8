"""Settings of the ONNX format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from awares_edge.export.base import ExportFormat, Help, Written

if TYPE_CHECKING:
    from awares_edge.bundle.writer import BundleWriter
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.checkpoint.tensorfile import Weights


@dataclass(frozen=True)
class OnnxFormat(ExportFormat):
    """Graphs for the `onnx` runtime (onnxruntime).

    Attributes:
        precision: of the weights. At int8, int4 and int8+int4 the device, a CPU, quantizes the
            inputs of int8 layers by itself. fp16 and int4-fp16 (4-bit language model, fp16 vision)
            are for GPUs.
        keep: exceptions, each "PATTERN=FORMAT"; the first that matches a layer's name wins.
        block: inputs of a 4-bit block.
        seven_bit: keep int8 weights within 64.
    """

    name: ClassVar[str] = "onnx"
    runtime: ClassVar[str] = "onnx"
    needs: ClassVar[tuple[str, ...]] = ("onnx",)
    extra: ClassVar[str] = "export"

    precision: Literal["fp32", "fp16", "int8", "int4", "int8+int4", "int4-fp16"] = "fp32"
    keep: Annotated[
        tuple[str, ...],
        Help("PATTERN=FORMAT: store the layers that match in another format, as lm_head=fp16."),
    ] = ()
    block: Annotated[
        Literal[32, 64, 128], Help("Inputs of a 4-bit block; smaller is more exact and slower.")
    ] = 64
    seven_bit: Annotated[
        bool, Help("Keep int8 weights within 64, for x86 CPUs known to be without VNNI.")
    ] = False

    def write(
        self, source: Checkpoint, weights: Weights, writer: BundleWriter, written: Written
    ) -> None:
        """Write graphs and weights."""
        from awares_edge.export.onnx.files import write_files

        write_files(
            source,
            weights,
            self.precision,
            writer,
            written,
            keep=self.keep,
            block=self.block,
            seven_bit=self.seven_bit,
        )
