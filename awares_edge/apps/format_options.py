"""Command-line options made of the settings of the export formats."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional, TypeVar, get_args, get_origin

import typer

from awares_edge.errors import InputError
from awares_edge.export.base import ExportFormat, Setting
from awares_edge.export.registry import FORMATS, get_format

C = TypeVar("C", bound=Callable[..., None])


def with_format_options(command: C) -> C:
    """Give a command that ends in `**settings` one option for each setting of each format.

    The options are grouped by format in the command's help. One that is not given is None.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters = [*own, *map(_option, _by_name().values())]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    # typer reads the annotations as well, and would see `settings` there.
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def read_format(name: str, precision: str | None, given: dict[str, Any]) -> ExportFormat:
    """The format that the options describe.

    Args:
        given: value of each option, None where it was not given.

    Raises:
        InputError: an option of another format was given.
        ExportError: no such format, or a value that it does not take.
    """
    chosen = get_format(name)
    # An option that may be repeated is a list, empty or None where it was not given.
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in given.items()
        if value is not None and value != []
    }
    known = {setting.name for setting in chosen.settings()}
    if others := [key for key in values if key not in known]:
        owners = _owners(others[0])
        flags = [_flag(key) for key in others if _owners(key) == owners]
        one = len(flags) == 1
        raise InputError(
            f"{', '.join(flags)} {'is' if one else 'are'} for --format {' or '.join(owners)}, "
            f"not for {name}: leave {'it' if one else 'them'} out"
        )
    if precision is not None:
        values["precision"] = precision
    return chosen(**values)


def describe_precisions() -> str:
    """A line of Markdown for each format, for the end of a command's help."""
    lines = [f"    {name}: {', '.join(entry.precisions())}" for name, entry in FORMATS.items()]
    return "Precisions, the default first:\n\n" + "\n\n".join(lines)


def _by_name() -> dict[str, Setting]:
    """Settings of all formats; a name that several formats have means the same in each."""
    return {s.name: s for entry in FORMATS.values() for s in entry.settings()}


def _owners(setting: str) -> list[str]:
    """Names of the formats that have a setting."""
    return [
        name for name, entry in FORMATS.items() if setting in {s.name for s in entry.settings()}
    ]


def _flag(setting: str) -> str:
    return "--" + setting.replace("_", "-")


def _option(setting: Setting) -> inspect.Parameter:
    # Ranges are checked by the format, whose message is the same with every version of typer.
    low, high = setting.help.low, setting.help.high
    limits = "" if low is None or high is None else f" From {low:.10g} to {high:.10g}."
    # Named in the text as well: docs/cli.md has no groups.
    owners = ", ".join(_owners(setting.name))
    option = typer.Option(
        _flag(setting.name),
        help=f"{owners}: {setting.help.text}{limits}",
        show_default=str(setting.default) if setting.default else False,
        rich_help_panel=f"Options of --format {owners}",
    )
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[_typer_type(setting.kind)], option],  # noqa: UP045 - a value
    )


def _typer_type(hint: Any) -> Any:
    """The type for typer, which lacks tuples of any length and choices of numbers."""
    if get_origin(hint) is tuple:
        return list[get_args(hint)[0]]  # type: ignore[misc]
    if get_origin(hint) is Literal and not isinstance(get_args(hint)[0], str):
        return type(get_args(hint)[0])
    return hint
