"""Which model a run is of, so that it is resumed with the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from awares_edge.api import embedded_bundle
from awares_edge.controller.askable import Askable


def identity(model: Askable, path: Path | None) -> dict[str, Any]:
    """Name and hash of a model, and what runs it.

    Args:
        path: the bundle or checkpoint that it was loaded from; None for the embedded bundle.

    A bundle's manifest pins all of its files by hash. Of a checkpoint, the configuration is hashed,
    and the names and sizes of its weights. A model on a server is known by its name and the
    server's address, which pin nothing.
    """
    about = model.about
    running = {
        "runtime": about.runtime,
        "precision": about.precision,
        "protocol": model.protocol.name,
    }
    if about.address:
        return {"name": _printable(about.name), "endpoint": about.address, **running}
    root = path or embedded_bundle()
    digest = hashlib.sha256()
    manifest = root / "manifest.json"
    if manifest.is_file():
        digest.update(manifest.read_bytes())
    else:
        for file in sorted([*root.glob("config.json"), *root.glob("*.safetensors")]):
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
            digest.update(file.read_bytes() if file.name == "config.json" else b"")
    return {
        "name": _printable(root.resolve().name) if path else "embedded nano model",
        "sha256": digest.hexdigest(),
        **running,
    }


def _printable(name: str) -> str:
    """A folder's name for tables and titles: untrusted text."""
    return "".join(c if c.isprintable() else "?" for c in name)
