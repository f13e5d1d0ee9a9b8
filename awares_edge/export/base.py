"""What an export format is: typed settings, and the two functions that use them.

A setting is a field of the format's dataclass, annotated with `Help`. Its type, default, help text
and range are written there once; the command line makes its options of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeAlias,
    get_args,
    get_origin,
)
from typing import get_type_hints as _hints

from awares_edge.errors import ExportError
from awares_edge.extras import require
from awares_edge.protocol import ProtocolProfile
from awares_edge.spec import ModelSpec

if TYPE_CHECKING:
    from awares_edge.bundle.writer import BundleWriter
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.checkpoint.tensorfile import Weights
    from awares_edge.export.measured import Measured

RangeMethod: TypeAlias = Literal["minmax", "percentile", "entropy"]
"""How the range of a matrix's inputs follows from what was measured (`export.ranges`)."""
RANGES: RangeMethod = "minmax"
"""The one that is used where nothing is said."""

Written = Callable[[int], None]
"""Called with the count of parameters in each piece after it is written."""


@dataclass(frozen=True, slots=True)
class Help:
    """Help text and range of a setting, for `Annotated`.

    Attributes:
        text: one sentence for people.
        low, high: smallest and largest value of a number, both allowed.
        unit: of a number, for messages.
    """

    text: str
    low: float | None = None
    high: float | None = None
    unit: str = ""


RangesSetting: TypeAlias = Annotated[
    RangeMethod | None,
    Help(
        "At w8a8 and fp8, the ranges of inputs: the largest that was measured, a percentile that "
        f"clips the rest, or that of least relative entropy. Default: {RANGES}."
    ),
]
"""The setting of formats that quantize inputs over fixed ranges."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a format.

    Attributes:
        type: bool, int, float, str, Path, a `Literal`, tuple[str, ...], or one of them or None.
        default: its value if none is given.
        help: help text and range.
    """

    name: str
    type: Any
    default: Any
    help: Help

    @property
    def kind(self) -> Any:
        """Its type without None."""
        kinds = [kind for kind in get_args(self.type) if kind is not NoneType]
        return kinds[0] if NoneType in get_args(self.type) else self.type

    def check(self, value: Any) -> None:
        """
        Raises:
            ExportError: it is not one of the type's values, out of range, or not finite.
        """
        kind = self.kind
        if value is not None and get_origin(kind) is Literal and value not in get_args(kind):
            choices = ", ".join(map(str, get_args(kind)))
            raise ExportError(f"{self.name} must be one of {choices}, not {value}")
        low, high = self.help.low, self.help.high
        if value is None or low is None or high is None:
            return
        if not low <= value <= high:  # NaN is refused as well
            unit = f" {self.help.unit}" if self.help.unit else ""
            raise ExportError(
                f"{self.name} must be between {low:.10g} and {high:.10g}{unit}, not {value:.10g}"
            )


@dataclass(frozen=True)
class ExportFormat(ABC):
    """A format to export to, and its settings.

    A subclass is a frozen dataclass. Its module is imported by the command line's `--help`, so it
    imports nothing heavy; `write` imports what does the work.

    Attributes:
        name: what `export_checkpoint(format=...)` calls it.
        runtime: name of the runtime that reads the bundle.
        needs: packages that `write` imports.
        extra: what to install where they are missing: `pip install 'awares-edge[extra]'`.
        precision: of the weights. A subclass gives a `Literal` of all values, and the default.
        calibration: file that `awares-edge calibrate weights` measured (`export.measured`).

    Raises:
        ExportError: a setting has a value that the format does not take.
    """

    name: ClassVar[str]
    runtime: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]

    precision: str
    calibration: Annotated[
        Path | None,
        Help("Measurement of this checkpoint, a file of `awares-edge calibrate weights`."),
    ] = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        choices = self.precisions()
        if self.precision not in choices:
            raise ExportError(
                f"no precision {self.precision!r} for {self.name}: choose {', '.join(choices)}"
            )
        for setting in self.settings():
            setting.check(getattr(self, setting.name))
        if self.calibration is not None and not self.calibrated:
            raise ExportError(f"a calibration file is not used at {self.precision}: leave it out")
        self.check()

    @property
    def calibrated(self) -> bool:
        """Whether the precision can use a calibration file."""
        return False

    def check(self) -> None:  # noqa: B027 - most formats have no more to check
        """Check settings that depend on each other.

        Raises:
            ExportError: they contradict each other.
        """

    def check_ranges(self, ranges: RangeMethod | None, static: Collection[str]) -> None:
        """Check what quantizing inputs over fixed ranges needs.

        Args:
            ranges: the setting; None where nothing was said.
            static: precisions that quantize inputs over fixed ranges.

        Raises:
            ExportError: no calibration at such a precision, or ranges at another.
        """
        if self.precision not in static:
            if ranges is not None:
                raise ExportError(
                    f"ranges are not used at {self.precision}: they are for {', '.join(static)}"
                )
        elif self.calibration is None:
            raise ExportError(
                f"{self.precision} needs a calibration file, which `awares-edge calibrate weights` "
                "measures; int8 and int4 need none"
            )

    def limit(self, profile: ProtocolProfile, spec: ModelSpec) -> ProtocolProfile:
        """The profile as this format can run it: the same, or with smaller pictures."""
        del spec
        return profile

    @abstractmethod
    def write(
        self,
        source: Checkpoint,
        weights: Weights,
        measured: Measured | None,
        writer: BundleWriter,
        written: Written,
    ) -> Mapping[str, str]:
        """Write the model's files into a bundle.

        Args:
            source: the checkpoint: configuration, tokenizer, preprocessing.
            weights: the checkpoint's, or with an adapter merged in.
            measured: what `calibration` holds; None without it.
            written: called as parameters are written.

        Returns:
            facts for the bundle's provenance, by name.

        Raises:
            ExportError: the runtime cannot hold or compute this model, or the disk is full.
            RuntimeUnavailable: a package is missing.
        """

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Names of all precisions, the default first."""
        names = get_args(_strip(_hints(cls, include_extras=True)["precision"]))
        default = next(one.default for one in fields(cls) if one.name == "precision")
        return (default, *(name for name in names if name != default))

    @classmethod
    def settings(cls) -> tuple[Setting, ...]:
        """All settings but the precision, in the order of their declaration."""
        hints = _hints(cls, include_extras=True)
        return tuple(
            Setting(one.name, _strip(hint), one.default, get_args(hint)[1])
            for one in fields(cls)
            if get_origin(hint := hints[one.name]) is Annotated
        )

    @classmethod
    def require(cls) -> None:
        """
        Raises:
            RuntimeUnavailable: a package is missing; the message says how to install it.
        """
        require(f"exporting to {cls.name}", dict.fromkeys(cls.needs, f"awares-edge[{cls.extra}]"))


def _strip(hint: Any) -> Any:
    """A type without its `Annotated`."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint
