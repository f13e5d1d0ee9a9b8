"""Weights as onnxruntime packs them for this CPU, kept on disk and mapped into memory.

onnxruntime copies quantized weights into another layout when it loads them: memory that the system
cannot take back. A file of packed weights is mapped instead, so that only what is in use is in
memory, and other processes share it.

    <folder>/<key>/text.onnx, text.data, vision.onnx, vision.data
    <folder>/<key>/index.json      the key's facts, and size and hash of each file

The layout depends on the CPU and on onnxruntime's version, so the files are made on the device and
are never part of a bundle. The key names everything they depend on.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import onnxruntime as ort

from awares_edge.bundle.schema import read_dataclass
from awares_edge.bundle.store import Bundle, hash_file
from awares_edge.errors import BundleError
from awares_edge.files import place_folder, staging_folder
from awares_edge.runtimes.caches import cache_folder, digest, is_private
from awares_edge.runtimes.onnx import cpu

GRAPHS = ("text", "vision")
SWITCH = "AWARES_EDGE_PREPACKED"
"""Environment variable: "0" turns the cache off."""
MIN_BYTES = 64 << 20
"""Bundles with fewer bytes of weights are loaded without it."""

_QUANTIZED = ("int8", "int4", "int8+int4", "w8a8", "mixed")
_INDEX = "index.json"
_VERSION = 1
_DISK_FACTOR = 3
"""Free disk that is asked for, in sizes of the bundle's weights; a cache takes up to two."""
_log = logging.getLogger(__name__)

Pack = Callable[[str, Path], None]
"""Called with a graph's name and the path to write the packed graph to, weights beside it."""


@dataclass(frozen=True, slots=True)
class PackedKey:
    """Everything that packed weights depend on.

    Attributes:
        bundle: hash over the graphs and weights, as the manifest lists them.
        onnxruntime: its full build information.
        cpu: machine and instruction sets.
    """

    bundle: str
    onnxruntime: str
    cpu: str

    @classmethod
    def of(cls, bundle: Bundle) -> PackedKey:
        hashes = {name: bundle.manifest.files[name].sha256 for name in _sources(bundle)}
        build = f"{ort.__version__} {ort.get_build_info()}"
        return cls(digest(hashes), build, " ".join((platform.machine(), *sorted(cpu.features()))))

    @property
    def name(self) -> str:
        """Name of the folder: different for every key."""
        return f"{ort.__version__}-{digest(asdict(self))[:24]}"


def worthwhile(bundle: Bundle) -> bool:
    """Whether a bundle is to be loaded through the cache: quantized, not tiny, on a CPU whose
    instruction sets are known, and not turned off."""
    files = bundle.manifest.files
    weights = sum(files[name].bytes for name in _sources(bundle))
    return (
        bundle.manifest.precision in _QUANTIZED
        and weights >= MIN_BYTES
        and bool(cpu.features())
        and os.environ.get(SWITCH, "1") != "0"
    )


class PackedCache:
    """Packed weights in a folder that belongs only to this user."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder("prepacked")

    def get(self, bundle: Bundle, pack: Pack) -> dict[str, Path]:
        """Packed graphs by name, made now where they are missing or damaged.

        Args:
            pack: makes one.

        Returns:
            paths by graph name; empty where they cannot be kept (no disk space, a folder that
            others can write to, a bundle that is not what its manifest says).
        """
        key = PackedKey.of(bundle)
        try:
            found = self.find(key)
            if not found and self._usable(bundle) and _unchanged(bundle):
                found = self._store(key, pack)
        except OSError as error:
            _log.info("no packed weights in %s: %s", self.folder, error)
            return {}
        return found

    def find(self, key: PackedKey) -> dict[str, Path]:
        """Packed graphs of this key by name, each file compared with its hash; empty where one is
        missing, damaged, or might have been written by another user."""
        root = self.folder / key.name
        try:
            if not (is_private(self.folder) and is_private(root)):
                return {}
            _require_regular(root / _INDEX)
            index = json.loads((root / _INDEX).read_text(encoding="utf-8"))
            stored = read_dataclass(PackedKey, index["key"], _INDEX)
            hashes: dict[str, str] = index["sha256"]
            if index["version"] != _VERSION or stored != key or set(hashes) != set(_files()):
                return {}
            if any(_hash(root / name) != digest for name, digest in hashes.items()):
                return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, BundleError):
            return {}
        return _graphs(root)

    def _usable(self, bundle: Bundle) -> bool:
        """Whether packed weights may be written: only this user can, and there is room."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        weights = sum(bundle.manifest.files[name].bytes for name in _sources(bundle))
        room = shutil.disk_usage(self.folder).free >= _DISK_FACTOR * weights
        return room and is_private(self.folder)

    def _store(self, key: PackedKey, pack: Pack) -> dict[str, Path]:
        """Keep packed graphs, all of them or none; their paths by name."""
        target = self.folder / key.name
        damaged = target.exists()
        with staging_folder(target) as temporary:
            temporary.chmod(0o700)
            for name in GRAPHS:
                pack(name, temporary / f"{name}.onnx")
            hashes = {name: _hash(temporary / name) for name in _files()}
            index = {"version": _VERSION, "key": asdict(key), "sha256": hashes}
            text = json.dumps(index, indent=1, sort_keys=True) + "\n"
            (temporary / _INDEX).write_text(text, encoding="utf-8")
            try:
                place_folder(temporary, target, replace=damaged)
            except FileExistsError:  # another process was first: its files are checked
                return self.find(key)
        return _graphs(target)  # hashed above


def _graphs(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}.onnx" for name in GRAPHS}


def _files() -> list[str]:
    return [f"{name}{ending}" for name in GRAPHS for ending in (".onnx", ".data")]


def _sources(bundle: Bundle) -> list[str]:
    return [n for n in bundle.manifest.files if n.endswith((".onnx", ".data", ".npy"))]


def _unchanged(bundle: Bundle) -> bool:
    """Whether graphs and weights have their hashes: a bundle may be opened without comparing them,
    and what is packed now will be taken for the bundle with these hashes later."""
    files = bundle.manifest.files
    return all(hash_file(bundle.path(name)) == files[name] for name in _sources(bundle))


def _hash(path: Path) -> str:
    """SHA-256 of a regular file."""
    _require_regular(path)
    return hash_file(path).sha256


def _require_regular(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(f"{path} is not a regular file")
