"""Settings of the ONNX format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from awares_edge.errors import ExportError
from awares_edge.export.base import RANGES, ExportFormat, Help, RangesSetting, Written

if TYPE_CHECKING:
    from awares_edge.bundle.writer import BundleWriter
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.checkpoint.tensorfile import Weights
    from awares_edge.export.measured import Measured


@dataclass(frozen=True)
class OnnxFormat(ExportFormat):
    """Graphs for the `onnx` runtime (onnxruntime).

    Attributes:
        precision: of the weights. At int8, int4 and int8+int4 the device, a CPU, quantizes the
            inputs of int8 layers by itself. fp16 and int4-fp16 (4-bit language model, fp16 vision)
            are for GPUs. w8a8 quantizes inputs over measured ranges, in standard ONNX (QDQ).
        calibration: where given, outliers are smoothed, layers that would still lose too much are
            stored in fp16, and 4-bit numbers chosen by GPTQ where its Hessians were measured.
            Needed at w8a8 and mixed.
        ranges: at w8a8: how the ranges of inputs follow from the calibration; None for `RANGES`.
        keep: exceptions, each "PATTERN=FORMAT"; the first that matches a layer's name wins.
        block: inputs of a 4-bit block.
        seven_bit: keep int8 weights within 64.
        budget_mb: at "mixed": most MB (1,000,000 bytes) of all weights.
        budget_ms: at "mixed": most milliseconds of a two-turn question, as estimated from `times`.
        times: file that `awares-edge calibrate times` measured (`export.times`).
    """

    name: ClassVar[str] = "onnx"
    runtime: ClassVar[str] = "onnx"
    needs: ClassVar[tuple[str, ...]] = ("onnx",)
    extra: ClassVar[str] = "export"

    precision: Literal[
        "fp32", "fp16", "int8", "int4", "int8+int4", "int4-fp16", "w8a8", "mixed"
    ] = "fp32"
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

    budget_mb: Annotated[
        float | None,
        Help("At mixed, most MB (1,000,000 bytes) of all weights.", 0.01, 1e6, "MB"),
    ] = None
    budget_ms: Annotated[
        float | None,
        Help("At mixed, most ms of a two-turn question on the device of --times.", 0.01, 1e9, "ms"),
    ] = None
    times: Annotated[
        Path | None,
        Help("At mixed, what the device needs, a file of `awares-edge calibrate times`."),
    ] = None

    ranges: RangesSetting = None

    def check(self) -> None:
        """
        Raises:
            ExportError: a budget or times without "mixed", or "mixed" without what it needs;
                "w8a8" without a calibration, or ranges without "w8a8".
        """
        self.check_ranges(self.ranges, ("w8a8",))
        budgets = (self.budget_mb, self.budget_ms)
        if self.precision != "mixed":
            if budgets != (None, None) or self.times is not None:
                raise ExportError(f"a budget has no use at {self.precision}: export at mixed")
            return
        if budgets == (None, None) or self.calibration is None:
            raise ExportError(
                "mixed needs a budget in MB or ms and a calibration file, which `awares-edge "
                "calibrate weights --sensitivity` measures"
            )
        if self.budget_ms is not None and self.times is None:
            raise ExportError(
                "a budget in ms needs the times of the device, which `awares-edge calibrate times` "
                "measures there"
            )
        if self.times is None:
            return
        from awares_edge.export.times import TIMED_BLOCK

        if self.block != TIMED_BLOCK:
            raise ExportError(f"times are measured with 4-bit blocks of {TIMED_BLOCK}: use these")

    @property
    def calibrated(self) -> bool:
        return self.precision not in ("fp32", "fp16")

    def write(
        self,
        source: Checkpoint,
        weights: Weights,
        measured: Measured | None,
        writer: BundleWriter,
        written: Written,
    ) -> Mapping[str, str]:
        """Write graphs and weights."""
        from awares_edge.export.onnx.budget import Budget
        from awares_edge.export.onnx.files import write_files
        from awares_edge.export.times import read_times

        budget = None
        if self.precision == "mixed":
            times = None if self.times is None else read_times(self.times, source.spec)
            budget = Budget(self.budget_mb, self.budget_ms, times)
        return write_files(
            source,
            weights,
            self.precision,
            writer,
            written,
            measured=measured,
            keep=self.keep,
            block=self.block,
            seven_bit=self.seven_bit,
            budget=budget,
            ranges=self.ranges or RANGES,
        )
