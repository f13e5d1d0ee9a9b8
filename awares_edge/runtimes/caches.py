"""What a device computes once and keeps: where it is stored, and how its keys are hashed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder of one kind of cache: under $AWARES_EDGE_CACHE, or in the user's cache folder."""
    if chosen := os.environ.get("AWARES_EDGE_CACHE"):
        return Path(chosen) / name
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "awares-edge" / name


def digest(facts: object) -> str:
    """SHA-256 over the canonical JSON of some facts."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_private(folder: Path) -> bool:
    """Whether this is a folder of this user that nobody else can write to.

    Raises:
        OSError: there is nothing at the path.
    """
    status = folder.lstat()
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_ISDIR(status.st_mode) and mine and not status.st_mode & 0o022
