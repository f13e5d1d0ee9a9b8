"""A recording as one file: a zip of `parity.json` and NumPy arrays, each with its hash.

`parity.json` describes all of it; `numpy.load` opens the arrays too. The file is read as untrusted:
no pickle, bounded sizes, every hash compared.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import InputError
from awares_edge.evaluation.parity.questions import hash_all
from awares_edge.evaluation.parity.recording import (
    PHASES,
    Probe,
    Recording,
    Row,
    Turn,
    row_phases,
)
from awares_edge.files import whole_file
from awares_edge.synth.generate import SPLITS
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches

FORMAT, VERSION = "awares-edge-parity", 1
_INDEX = "parity.json"
_MAX_INDEX_BYTES = 256 << 20
_MAX_ARRAY_BYTES = 4 << 30


def save(recording: Recording, path: Path) -> None:
    """Write a recording, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {}
    probes = {str(n): _probe_index(n, p, arrays) for n, p in recording.probes.items()}
    with (
        whole_file(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive,
    ):
        hashes = {}
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            data = buffer.getvalue()
            hashes[name] = hashlib.sha256(data).hexdigest()
            archive.writestr(name, data)
        index = {
            "format": FORMAT,
            "version": VERSION,
            "about": recording.about,
            "phases": PHASES,
            "rows": [asdict(row) for row in recording.rows],
            "probes": probes,
            "arrays": hashes,
        }
        archive.writestr(_INDEX, json.dumps(index, indent=1))


def _probe_index(number: int, probe: Probe, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    def put(name: str, array: NDArray[Any] | None) -> str | None:
        if array is None:
            return None
        arrays[f"{number}/{name}.npy"] = array
        return f"{number}/{name}.npy"

    def put_patches(name: str, patches: Patches) -> dict[str, Any]:
        return {"grid": asdict(patches.grid), "pixels": put(name, patches.pixels)}

    return {
        "turns": [asdict(turn) for turn in probe.turns],
        "view": put_patches("view", probe.view),
        "images": [put_patches(f"image-{i}", p) for i, p in enumerate(probe.images)],
        "features": [put(f"features-{i}", f) for i, f in enumerate(probe.features)],
        "logits": put("logits", probe.logits),
        "reuse_drift": probe.reuse_drift,
    }


def load(path: Path) -> Recording:
    """Read a recording.

    Raises:
        InputError: there is none, it is damaged, or of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except InputError:
        raise
    # Which error a damaged file raises depends on where the damage is.
    except (
        zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, OSError, EOFError, ValueError,
        KeyError, TypeError, IndexError, AttributeError, RecursionError, NotImplementedError,
        RuntimeError,
    ) as error:  # fmt: skip
        raise InputError(
            f"{path} is not a whole parity file: copy it again, or record the reference again"
        ) from error


def _read(archive: zipfile.ZipFile, path: Path) -> Recording:
    index = json.loads(_member(archive, _INDEX, _MAX_INDEX_BYTES))
    if index.get("format") != FORMAT:
        raise InputError(f"{path} is not a parity file: record one with --save-reference")
    if index.get("version") != VERSION:
        raise InputError(
            f"{path} has format version {index.get('version')!r}, this awares-edge reads "
            f"{VERSION}: record the reference again"
        )
    arrays = {name: _array(archive, name, digest) for name, digest in index["arrays"].items()}
    rows = tuple(_row(row) for row in index["rows"])
    probes = {int(n): _probe(probe, arrays) for n, probe in index["probes"].items()}
    about = index["about"]
    if hash_all(row.sha256 for row in rows) != about["questions_sha256"]:
        raise ValueError
    if not all(str(about[key]) for key in ("model", "protocol_sha256", "vocabulary", "runtime")):
        raise ValueError
    if not _is_source(about["questions"]):
        raise ValueError
    if any(not 0 <= number < len(rows) for number in probes):
        raise ValueError
    return Recording(about, rows, probes)


def _is_source(source: dict[str, Any]) -> bool:
    """Whether this is a `Questions.source`."""
    if "file" in source:
        return isinstance(source["file"], str) and isinstance(source["limit"], int | None)
    numbers = (source["seed"], source["limit"])
    return source["split"] in SPLITS and all(type(n) is int and n >= 0 for n in numbers)


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise ValueError
    return archive.read(name)


def _array(archive: zipfile.ZipFile, name: str, digest: str) -> NDArray[Any]:
    data = _member(archive, name, _MAX_ARRAY_BYTES)
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _row(row: dict[str, Any]) -> Row:
    calls = tuple(
        tuple((str(crop_id), _four(box)) for crop_id, box in call) for call in row["calls"]
    )
    return Row(
        sha256=str(row["sha256"]),
        question=str(row["question"]),
        size=(int(row["size"][0]), int(row["size"][1])),
        called=bool(row["called"]),
        calls=calls,
        answer=str(row["answer"]),
        right=None if row["right"] is None else bool(row["right"]),
        warm=bool(row["warm"]),
        replies=tuple(tuple(map(int, reply)) for reply in row["replies"]),
        margins=tuple(tuple(map(float, margins)) for margins in row["margins"]),
    )


def _four(box: list[int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = map(int, box)
    return left, top, right, bottom


def _probe(probe: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Probe:
    def patches(entry: dict[str, Any]) -> Patches:
        grid = Grid(**{key: int(value) for key, value in entry["grid"].items()})
        pixels = arrays[entry["pixels"]]
        if pixels.ndim != 2 or len(pixels) != grid.patches or pixels.dtype != np.float32:
            raise ValueError
        return Patches(pixels, grid)

    turns = tuple(
        Turn(
            tuple(p if isinstance(p, int) else tuple(map(int, p)) for p in turn["prompt"]),
            tuple(map(int, turn["reply"])),
        )
        for turn in probe["turns"]
    )
    images = tuple(patches(entry) for entry in probe["images"])
    logits = arrays[probe["logits"]]
    used = {part for turn in turns for part in turn.prompt if isinstance(part, int)}
    if not turns or not used <= set(range(len(images))):
        raise ValueError
    if logits.shape[:1] != (len(row_phases(turns)),) or logits.ndim != 2:
        raise ValueError
    return Probe(
        turns=turns,
        view=patches(probe["view"]),
        images=images,
        features=tuple(None if name is None else arrays[name] for name in probe["features"]),
        logits=logits,
        reuse_drift=float(probe["reuse_drift"]),
    )
