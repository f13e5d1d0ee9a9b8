"""Bundles on disk, read only after every hash agrees."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from awares_edge.bundle.graph_files import check_graph_file
from awares_edge.bundle.manifest import FileEntry, Manifest
from awares_edge.errors import BundleError
from awares_edge.spec import GRAPH_SUFFIX, MANIFEST_NAME, TOKENIZER_NAME

MAX_MANIFEST_BYTES = 4 << 20

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what, done, total) as long work goes on."""


def hash_file(path: Path) -> FileEntry:
    """Size and SHA-256 of a file, read in pieces."""
    with path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else None
        if digest is None:  # Python 3.10
            digest = hashlib.sha256()
            while piece := file.read(1 << 20):
                digest.update(piece)
    return FileEntry(path.stat().st_size, digest.hexdigest())


class Bundle:
    """A verified bundle, opened for reading.

    Attributes:
        root: its folder.
        manifest: its contents.
    """

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest

    @classmethod
    def open(
        cls, root: str | Path, *, verify: bool = True, progress: Progress | None = None
    ) -> Bundle:
        """Open a bundle.

        Only files that the manifest lists are read, also where a graph names weights.

        Args:
            root: its folder.
            verify: compare every file with its hash; False compares only sizes.
            progress: called with (name, done, total) after each verified file.

        Raises:
            BundleError: there is none; the format version is another; a value of the manifest is
                out of range; a file is missing, changed, or a link; a graph reads a file that is
                not listed.
        """
        root = Path(root)
        try:
            bundle = cls(root, _read_manifest(root))
            bundle._check_files(verify, progress)
        except OSError as error:
            where = error.filename or root
            raise BundleError(f"{where} cannot be read: {error.strerror or error}") from error
        return bundle

    def path(self, name: str) -> Path:
        """Path of a listed file.

        Raises:
            BundleError: the manifest does not list it.
        """
        if name not in self.manifest.files:
            raise BundleError(f"the bundle in {self.root} has no file {name}")
        return self.root / name

    def unlisted(self) -> list[str]:
        """Names of files in the folder that the manifest does not list; they are never read."""
        found: list[str] = []
        for folder, _, names in os.walk(self.root):
            inner = Path(folder).relative_to(self.root)
            found += [(inner / name).as_posix() for name in names]
        return sorted(set(found) - set(self.manifest.files) - {MANIFEST_NAME})

    def _check_files(self, verify: bool, progress: Progress | None) -> None:
        files = self.manifest.files
        if TOKENIZER_NAME not in files:
            raise BundleError(f"the manifest lists no {TOKENIZER_NAME}: export the bundle again")
        for done, (name, expected) in enumerate(files.items()):
            _check_file(self.root, name, expected, verify)
            if progress:
                progress(name, done + 1, len(files))
        sizes = {name: entry.bytes for name, entry in files.items()}
        for name in files:
            if name.endswith(GRAPH_SUFFIX):
                check_graph_file(self.root, name, sizes)


def _read_manifest(root: Path) -> Manifest:
    path = root / MANIFEST_NAME
    if not root.exists():
        raise BundleError(f"no such bundle: {root}")
    if not path.exists():
        raise BundleError(f"{root} is not a bundle: it has no {MANIFEST_NAME}")
    _require(root, MANIFEST_NAME, stat.S_ISREG)
    with path.open("rb") as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is too large for a manifest: export the bundle again")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 text: export the bundle again") from error
    return Manifest.from_json(text)


def _check_file(root: Path, name: str, expected: FileEntry, verify: bool) -> None:
    parts = name.split("/")
    for i in range(1, len(parts)):
        _require(root, "/".join(parts[:i]), stat.S_ISDIR)
    size = _require(root, name, stat.S_ISREG).st_size
    if size != expected.bytes:
        raise BundleError(
            f"{name} has {size} bytes, the manifest says {expected.bytes}: "
            "the bundle is incomplete or changed; copy or export it again"
        )
    if verify and hash_file(root / name) != expected:
        raise BundleError(
            f"{name} does not have the hash in the manifest: the bundle is corrupt "
            "or was changed; copy or export it again"
        )


def _require(root: Path, name: str, kind: Callable[[int], bool]) -> os.stat_result:
    """Status of a file or folder that must be itself: no link, and no pipe that never ends."""
    try:
        status = os.lstat(root / name)
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{name} is missing from the bundle: copy or export it again") from None
    if stat.S_ISLNK(status.st_mode):
        raise BundleError(
            f"{name} leaves the bundle's folder by a symbolic link: if you trust what it leads "
            "to, copy the bundle with cp -rL"
        )
    if not kind(status.st_mode):
        raise BundleError(f"{name} is not a regular file: copy or export the bundle again")
    return status
