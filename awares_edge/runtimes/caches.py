"""What a device computes once and keeps: where it lies, and how its keys are hashed."""

from __future__ import annotations

import hashlib
import json
import os
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
