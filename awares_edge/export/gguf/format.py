"""Settings of the GGUF format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, get_args

from awares_edge.export.base import ExportFormat, Written

if TYPE_CHECKING:
    from awares_edge.bundle.writer import BundleWriter
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.checkpoint.tensorfile import Weights
    from awares_edge.export.measured import Measured

FloatName: TypeAlias = Literal["f16", "bf16", "f32"]
QuantizationName: TypeAlias = Literal[
    "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_0", "q4_k_m", "q4_k_s", "q4_0", "iq4_xs", "iq4_nl",
    "q3_k_m",
]  # fmt: skip
GgufPrecision: TypeAlias = Literal[FloatName, QuantizationName]

FILE_TYPES: dict[GgufPrecision, int] = {
    "f16": 1,
    "bf16": 32,
    "f32": 0,
    "q8_0": 7,
    "q6_k": 18,
    "q5_k_m": 17,
    "q5_k_s": 16,
    "q5_0": 8,
    "q4_k_m": 15,
    "q4_k_s": 14,
    "q4_0": 2,
    "iq4_xs": 30,
    "iq4_nl": 25,
    "q3_k_m": 12,
}
"""llama.cpp's number of each precision (`enum llama_ftype`, stored as `general.file_type`)."""


@dataclass(frozen=True)
class GgufFormat(ExportFormat):
    """GGUF files for the `llamacpp` runtime, and for every other llama.cpp program.

    Attributes:
        precision: of the text model; the vision tower is never stored below f16.
        calibration: where given, llama.cpp quantizes with its importance matrix.
    """

    name: ClassVar[str] = "gguf"
    runtime: ClassVar[str] = "llamacpp"
    needs: ClassVar[tuple[str, ...]] = ("gguf",)
    extra: ClassVar[str] = "gguf"

    precision: GgufPrecision = "f16"

    @property
    def quantized(self) -> bool:
        """Whether llama.cpp itself quantizes the text model."""
        return self.precision not in get_args(FloatName)

    @property
    def calibrated(self) -> bool:
        return self.quantized

    def write(
        self,
        source: Checkpoint,
        weights: Weights,
        measured: Measured | None,
        writer: BundleWriter,
        written: Written,
    ) -> Mapping[str, str]:
        """Write the text model and the vision tower. Quantizing counts as half of the work."""
        from awares_edge.export.gguf.files import write_files

        write_files(self.precision, source, weights, measured, writer, written)
        return {}
