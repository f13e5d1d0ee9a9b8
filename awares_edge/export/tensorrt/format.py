"""Settings of the TensorRT format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from awares_edge.errors import ExportError
from awares_edge.export.base import ExportFormat, Help, RangesSetting, Written
from awares_edge.export.tensorrt.targets import TARGETS, Target, check_precision, get_target
from awares_edge.protocol import ProtocolProfile
from awares_edge.spec import ModelSpec

if TYPE_CHECKING:
    from awares_edge.bundle.writer import BundleWriter
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.checkpoint.tensorfile import Weights
    from awares_edge.export.measured import Measured

_NAMES = ", ".join(TARGETS)
_QUANTIZED_INPUTS = ("w8a8", "fp8")
_CALIBRATED = (*_QUANTIZED_INPUTS, "int8", "int4")


@dataclass(frozen=True)
class TensorrtFormat(ExportFormat):
    """Typed ONNX graphs and a build plan for one kind of device, for the `tensorrt` runtime.

    Attributes:
        precision: of the language model's matrices; which ones there are depends on the target.
        target: name of the device (`TARGETS`).
        cache_length: KV cells of a session; None for the target's default.
        memory: GiB of this very device, where it has more than the smallest of its family.
        calibration: needed at w8a8 and fp8, whose inputs are quantized over measured ranges.
        ranges: how these ranges follow from the calibration; None for `RANGES`.
    """

    name: ClassVar[str] = "tensorrt"
    runtime: ClassVar[str] = "tensorrt"
    needs: ClassVar[tuple[str, ...]] = ("onnx", "ml_dtypes")
    extra: ClassVar[str] = "export"

    precision: Literal["fp16", "fp32", "bf16", "int8", "int4", "w8a8", "fp8"] = "fp16"
    target: Annotated[str, Help(f"Device to export for: {_NAMES}.")] = ""
    cache_length: Annotated[
        int | None, Help("KV cells of a session, instead of the target's.", 64, 1 << 20, "cells")
    ] = None
    memory: Annotated[
        float | None,
        Help("GiB of this device, where it has more than its family's.", 1, 4096, "GiB"),
    ] = None
    ranges: RangesSetting = None

    @property
    def calibrated(self) -> bool:
        return self.precision in _CALIBRATED

    @property
    def device(self) -> Target:
        """The target, with this very device's memory."""
        found = get_target(self.target)
        return found if self.memory is None else replace(found, gib=self.memory)

    def check(self) -> None:
        """
        Raises:
            ExportError: no target; it does not take the precision; the calibration is missing;
                ranges have no use.
        """
        if not self.target:
            raise ExportError(f"name the target device: one of {_NAMES}")
        check_precision(self.device, self.precision)
        self.check_ranges(self.ranges, _QUANTIZED_INPUTS)

    def limit(self, profile: ProtocolProfile, spec: ModelSpec) -> ProtocolProfile:
        """The profile with pictures no larger than the target's engine takes."""
        pixels = (spec.vision.patch_size * spec.vision.merge_size) ** 2
        most = self.device.max_pixels // pixels * pixels
        return profile.limited(most)

    def write(
        self,
        source: Checkpoint,
        weights: Weights,
        measured: Measured | None,
        writer: BundleWriter,
        written: Written,
    ) -> Mapping[str, str]:
        """Write graphs, weights and the build plan."""
        from awares_edge.export.tensorrt.files import write_files

        return write_files(self, source, weights, measured, writer, written)
