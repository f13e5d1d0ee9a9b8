"""Bundles on disk, read only after every hash agrees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from awares_edge.bundle.manifest import FileEntry, Manifest
from awares_edge.errors import BundleError
from awares_edge.spec import MANIFEST_NAME, TOKENIZER_NAME

_MAX_MANIFEST_BYTES = 4 << 20
_MAX_FILES = 4096

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what, done, total) as long work goes on."""


def hash_file(path: Path) -> FileEntry:
    """Size and SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
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
        manifest: what it says.
    """

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest

    @classmethod
    def open(
        cls, root: str | Path, *, verify: bool = True, progress: Progress | None = None
    ) -> Bundle:
        """Open a bundle.

        Args:
            root: its folder.
            verify: compare every file with its hash; False compares sizes alone.
            progress: told of each verified file.

        Raises:
            BundleError: there is none, a file is missing, changed or not listed, a path leaves the
                folder, or the format version is another.
        """
        root = Path(root)
        path = root / MANIFEST_NAME
        if not root.exists():
            raise BundleError(f"no such bundle: {root}")
        if not path.is_file():
            raise BundleError(f"{root} is not a bundle: it has no {MANIFEST_NAME}")
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is too large for a manifest: export the bundle again")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{path} cannot be read: {error}") from error
        bundle = cls(root, Manifest.from_json(text))
        bundle._check_files(verify, progress)
        return bundle

    def path(self, name: str) -> Path:
        """Path of a listed file.

        Raises:
            BundleError: the manifest does not list it.
        """
        if name not in self.manifest.files:
            raise BundleError(f"the bundle in {self.root} has no file {name}")
        return self.root / name

    def _check_files(self, verify: bool, progress: Progress | None) -> None:
        files = self.manifest.files
        if len(files) > _MAX_FILES:
            raise BundleError(f"the manifest lists {len(files)} files: not a bundle of this tool")
        if TOKENIZER_NAME not in files:
            raise BundleError(f"the manifest lists no {TOKENIZER_NAME}: export the bundle again")
        for name in files:
            _check_name(name)
            path = self.root / name
            if path.is_symlink() or not path.resolve().is_relative_to(self.root.resolve()):
                raise BundleError(f"{name} leaves the bundle's folder: do not trust this bundle")
        for done, (name, expected) in enumerate(files.items()):
            path = self.root / name
            if not path.is_file():
                raise BundleError(f"{name} is missing from the bundle: copy or export it again")
            if path.stat().st_size != expected.bytes:
                raise BundleError(
                    f"{name} has {path.stat().st_size} bytes, the manifest says {expected.bytes}: "
                    "the bundle is incomplete or changed; copy or export it again"
                )
            if verify and hash_file(path).sha256 != expected.sha256:
                raise BundleError(
                    f"{name} does not have the hash that the manifest says: the bundle is corrupt "
                    "or was changed; copy or export it again"
                )
            if progress:
                progress(name, done + 1, len(files))


def _check_name(name: str) -> None:
    pure = PurePosixPath(name)
    bad = pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name or "\0" in name
    if bad or str(pure) != name or name in ("", ".", MANIFEST_NAME):
        raise BundleError(f"the manifest lists {name!r}, which is no file inside the bundle")
