"""Built engines on disk, named by everything they depend on: a stale one is never loaded.

    <folder>/<key>/text.engine, vision.engine     serialized engines
    <folder>/<key>/engines.json                   the key's facts, and the engines' hashes

The key is a hash over product and version, GPU architecture, plan and graphs: a new TensorRT,
another GPU or another export gives another folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awares_edge.bundle.schema import read_dataclass
from awares_edge.bundle.store import Bundle, hash_file
from awares_edge.errors import BundleError
from awares_edge.files import whole_folder
from awares_edge.runtimes.caches import cache_folder, digest, is_private
from awares_edge.runtimes.tensorrt.device import Gpu
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.runtimes.tensorrt.product import TensorRT

GRAPHS = ("text", "vision")
_INDEX = "engines.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that an engine depends on.

    Attributes:
        product, version: "tensorrt" or "tensorrt-rtx", and the library's full version.
        capability: compute capability of the GPU, as 87.
        plan: hash of the build plan, profiles included.
        graphs: hash over the ONNX files and their weights, as the manifest lists them.
    """

    product: str
    version: str
    capability: int
    plan: str
    graphs: str

    @classmethod
    def of(cls, bundle: Bundle, plan: Plan, trt: TensorRT, gpu: Gpu) -> EngineKey:
        hashes = {
            name: entry.sha256
            for name, entry in bundle.manifest.files.items()
            if name.endswith((".onnx", ".data"))
        }
        plan_hash = digest(plan.to_json())
        return cls(trt.product, trt.version, gpu.capability, plan_hash, digest(hashes))

    @property
    def name(self) -> str:
        """Name of the folder: readable, and different for every key."""
        version = self.version.replace("/", "_")
        return f"{self.product}-{version}-sm{self.capability}-{digest(asdict(self))[:16]}"


class EngineCache:
    """Built engines in a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder("engines")

    def find(self, key: EngineKey) -> dict[str, Path] | None:
        """Engine files by graph name; None where there are none for this key.

        Each file is compared with the hash that was stored with it, and a folder that another user
        might have written is not used: an engine is code.
        """
        root = self.folder / key.name
        try:
            if not (is_private(self.folder) and is_private(root)):
                return None
            index = json.loads((root / _INDEX).read_text(encoding="utf-8"))
            if index.get("version") != _VERSION:
                return None
            stored = read_dataclass(EngineKey, index["key"], _INDEX)
            hashes: Mapping[str, str] = index["sha256"]
        except (OSError, ValueError, KeyError, AttributeError, BundleError):
            return None
        if stored != key or set(hashes) != set(GRAPHS):
            return None
        found = {name: root / f"{name}.engine" for name in GRAPHS}
        for name, path in found.items():
            if not path.is_file() or path.is_symlink():
                return None
            if hash_file(path).sha256 != hashes[name]:
                return None
        return found

    def store(self, key: EngineKey, engines: Iterable[tuple[str, Any]]) -> Path:
        """Keep engines; they appear together, or not at all.

        Args:
            engines: (graph name, buffer). Each is written before the next one is asked for, so a
                generator that builds them never holds two.

        Returns:
            their folder.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self.folder / key.name
        with whole_folder(target) as temporary:
            temporary.chmod(0o700)  # for any umask: see `find`
            hashes = {}
            for name, blob in engines:
                path = temporary / f"{name}.engine"
                path.write_bytes(memoryview(blob))
                del blob
                hashes[name] = hash_file(path).sha256
            index = {"version": _VERSION, "key": asdict(key), "sha256": hashes}
            text = json.dumps(index, indent=1, sort_keys=True) + "\n"
            (temporary / _INDEX).write_text(text, encoding="utf-8")
        return target
