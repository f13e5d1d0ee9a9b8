"""Profiles by name, and profiles of the user's own from a file.

The published ones are the TOML files in `published/`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

from awares_edge.errors import InputError
from awares_edge.protocol.crops import CROP_NAMES
from awares_edge.protocol.limits import PROFILE_LIMITS
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.schema import parse_json, read_dataclass

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = import_module("tomli")

DEFAULT_PROFILE = "paper"
"""For checkpoints that no profile names."""
MAX_PROFILE_BYTES = 1 << 20
"""Largest profile file, in bytes."""


class _Published(Mapping[str, ProtocolProfile]):
    """The published profiles by name, each read when it is first asked for."""

    def __getitem__(self, name: str) -> ProtocolProfile:
        if name not in _names():
            raise KeyError(name)
        return _published(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_names())

    def __len__(self) -> int:
        return len(_names())


PROFILES: Mapping[str, ProtocolProfile] = _Published()


def get_profile(name: str | Path) -> ProtocolProfile:
    """A published profile by its name, or the user's own by the path of its file.

    Raises:
        InputError: there is neither, or the file is not a profile.
    """
    if str(name) in PROFILES:
        return PROFILES[str(name)]
    path = Path(name)
    if path.suffix in (".toml", ".json"):
        return read_profile(path)
    names = ", ".join(PROFILES)
    raise InputError(
        f"no protocol profile {str(name)!r}: choose one of {names}, or give a .toml or .json file"
    )


def read_profile(path: Path) -> ProtocolProfile:
    """Read a profile from a TOML or JSON file.

    Raises:
        InputError: it cannot be read, or is not a profile.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
        if len(data) > MAX_PROFILE_BYTES:
            raise InputError(f"{path} is over {MAX_PROFILE_BYTES} bytes: too large for a profile")
        text = data.decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error
    parse = parse_json if path.suffix == ".json" else _parse_toml
    return make_profile(parse(text, str(path)), str(path))


def make_profile(data: Mapping[str, Any], where: str) -> ProtocolProfile:
    """A profile from parsed TOML or JSON.

    Raises:
        InputError: a field is missing, unknown, out of range, or contradicts another.
    """
    profile = read_dataclass(ProtocolProfile, data, where, PROFILE_LIMITS)
    check_profile(profile, where)
    return profile


def check_profile(profile: ProtocolProfile, where: str) -> None:
    """Check what must hold between the fields of a profile.

    Raises:
        InputError: the first rule that is broken.
    """
    try:
        _ = profile.call
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    tool, region = profile.tool, profile.region
    fits = [f for f in (profile.source.fit, profile.first_view.fit, region.fit) if f]
    crops = tool.syntax == "crops"
    known = set(tool.crops) <= set(CROP_NAMES) and len(set(tool.crops)) == len(tool.crops)
    rules = {
        "min_pixels must not be above max_pixels": profile.min_pixels <= profile.max_pixels
        and all(fit.min_pixels <= fit.max_pixels for fit in fits),
        "user must hold {image} once, and {question} once behind it": profile.user.count("{image}")
        == profile.user.count("{question}")
        == 1
        and profile.user.index("{image}") < profile.user.index("{question}"),
        "follow_up must hold {question} once": profile.follow_up.count("{question}") == 1,
        "tool.crops must be different and known": known,
        "tool.example must hold {box} where a call holds a box, and only there": crops
        or (tool.example.count("{box}") == 1) == (tool.syntax == "list" or bool(tool.box)),
        "tool.reference needs tool.syntax json": not tool.reference or tool.syntax == "json",
        "tool.fixed must be key=value": not tool.fixed or "=" in tool.fixed.strip("="),
        "boxes of the evaluator need a region.min_side of at least 100": (
            region.boxes != "evaluator" or region.min_side >= 100
        ),
        "reply.text must hold {image} once": profile.reply.text.count("{image}") == 1,
        "region.coordinates must be crops where tool.syntax is crops, and only there": crops
        == (region.coordinates == "crops"),
        "region.coordinates must be whole where a call holds no box, and only there": crops
        or (region.coordinates == "whole") == (tool.syntax == "json" and not tool.box),
        "tool.spelled needs a box and a reference, and no name": not tool.spelled
        or bool(tool.box and tool.reference and not tool.name),
        "region.references needs tool.reference, and tool.reference needs it": (
            region.references == "source"
        )
        == (not tool.reference),
    }
    for rule, holds in rules.items():
        if not holds:
            raise InputError(f"{where}: {rule}")


def published_profile(checkpoint: str | PurePath) -> ProtocolProfile | None:
    """The profile of a published checkpoint; None where none is known.

    Args:
        checkpoint: a repository's id, "owner/name", or a folder. A mirror or a folder is known by
            the repository's name; upper and lower case are the same, as on the hub.
    """
    name = PurePath(checkpoint).name.casefold()
    for profile in PROFILES.values():
        if name in (known.split("/")[-1].casefold() for known in profile.checkpoints):
            return profile
    return None


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    folder = files(__package__) / "published"
    found = sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name[-5:] == ".toml")
    own = ("paper", "readme", "evaluator", "nano")
    return (*own, *(name for name in found if name not in own))


@lru_cache(maxsize=64)
def _published(name: str) -> ProtocolProfile:
    text = (files(__package__) / "published" / f"{name}.toml").read_text(encoding="utf-8")
    return make_profile(_parse_toml(text, name), name)


def _parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid TOML: {error}") from error
    return data
