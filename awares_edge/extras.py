"""Optional packages: which of them are missing here, and the line that installs them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from awares_edge.errors import RuntimeUnavailable


def missing(packages: Iterable[str]) -> tuple[str, ...]:
    """Packages that are not installed, by the names they are imported by.

    "a or b" is missing where both are.
    """
    return tuple(p for p in packages if not any(map(find_spec, p.split(" or "))))


def install_line(*requirements: str) -> str:
    """What to type: `pip install 'awares-edge[torch]'`."""
    return f"pip install {shlex.join(dict.fromkeys(requirements))}"


def require(purpose: str, needs: Mapping[str, str]) -> None:
    """Make sure that packages are there before something begins that needs them.

    Args:
        purpose: what needs them, as the beginning of a sentence.
        needs: by package, as for `missing`, what pip installs it from.

    Raises:
        RuntimeUnavailable: a package is missing; the message says how to install it.
    """
    if lacking := missing(needs):
        line = install_line(*(needs[package] for package in lacking))
        raise RuntimeUnavailable(f"{purpose} needs {', '.join(lacking)}: {line}")
