"""One hash over a model's shape and weights: what a file measured on a checkpoint belongs to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Protocol

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.lora import Adapter
from awares_edge.checkpoint.names import expected_shapes
from awares_edge.checkpoint.tensorfile import Stored

# Names do not affect what is computed.
_NAMES = ("name", "license", "base_model")


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def fingerprint(base: Checkpoint, adapter: Adapter | None = None) -> str:
    """SHA-256 over the model's shape and every number of its weights, as hexadecimal digits.

    It does not depend on how the checkpoint is split into files, or on its tensors' names there.

    Raises:
        CheckpointError: a file cannot be read.
    """
    found = hashlib.sha256()
    shape = {key: value for key, value in asdict(base.spec).items() if key not in _NAMES}
    found.update(json.dumps(shape, sort_keys=True).encode())
    for name in expected_shapes(base.spec):
        _add(found, name, base.tensor(name))
    for name, update in sorted(adapter.updates.items()) if adapter else ():
        _add(found, f"{name} down {update.scale!r}", update.down)
        _add(found, f"{name} up", update.up)
    return found.hexdigest()


def _add(found: _Hash, name: str, tensor: Stored) -> None:
    found.update(json.dumps([name, tensor.dtype, tensor.shape]).encode())
    for piece in tensor.raw():
        found.update(piece)
