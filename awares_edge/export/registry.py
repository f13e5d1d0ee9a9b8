"""Every export format by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

from awares_edge.errors import ExportError
from awares_edge.export.base import ExportFormat
from awares_edge.export.gguf.format import GgufFormat
from awares_edge.export.onnx.format import OnnxFormat
from awares_edge.export.tensorrt.format import TensorrtFormat

FormatName: TypeAlias = Literal["onnx", "gguf", "tensorrt"]

FORMATS: dict[str, type[ExportFormat]] = {
    entry.name: entry for entry in (OnnxFormat, GgufFormat, TensorrtFormat)
}


def get_format(name: str) -> type[ExportFormat]:
    """The format of this name.

    Raises:
        ExportError: there is none.
    """
    if name not in FORMATS:
        raise ExportError(f"no export format {name!r}: choose {', '.join(FORMATS)}")
    return FORMATS[name]


def make_format(format: str | ExportFormat, precision: str | None = None) -> ExportFormat:
    """A format's settings.

    Args:
        format: the settings, or the name of a format for its defaults.
        precision: instead of the format's.

    Raises:
        ExportError: no such format or precision, or the format needs a setting (a target).
    """
    changes: dict[str, Any] = {} if precision is None else {"precision": precision}
    if isinstance(format, ExportFormat):
        return replace(format, **changes)
    return get_format(format)(**changes)
