"""Reading the files of a bundle: `awares_edge.schema`, with its errors as `BundleError`."""

from __future__ import annotations

from typing import Any, TypeVar

from awares_edge import schema
from awares_edge.errors import BundleError, InputError

T = TypeVar("T")


def parse_json(text: str, where: str) -> dict[str, Any]:
    """Parse an untrusted JSON object of a bundle.

    Raises:
        BundleError: it is not one; see `awares_edge.schema.parse_json`.
    """
    try:
        return schema.parse_json(text, where)
    except InputError as error:
        raise BundleError(f"{error}: export the bundle again") from error


def read_dataclass(
    cls: type[T], data: object, where: str, limits: schema.Limits | None = None
) -> T:
    """Build `cls` from what a bundle's file holds.

    Raises:
        BundleError: a field is missing, unknown, of the wrong type or out of range.
    """
    try:
        return schema.read_dataclass(cls, data, where, limits)
    except InputError as error:
        raise BundleError(str(error)) from error
