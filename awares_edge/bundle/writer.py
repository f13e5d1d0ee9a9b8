"""Writing bundles: complete or not at all; only bundles are overwritten."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from awares_edge.bundle.manifest import FORMAT, Manifest
from awares_edge.bundle.store import MAX_MANIFEST_BYTES, Bundle, Progress, hash_file
from awares_edge.errors import ExportError
from awares_edge.files import place_folder, staging_folder
from awares_edge.spec import MANIFEST_NAME


class BundleWriter:
    """Writes a bundle into a temporary folder next to its target and renames it when complete.

    Use as a context manager; leaving it without `commit` removes everything:

        with BundleWriter(target) as writer:
            ...write files to writer.path(name)...
            writer.commit(manifest)

    Of several writers with one new target the first to commit gets it; the others fail.
    """

    def __init__(self, target: str | Path, *, overwrite: bool = False) -> None:
        """
        Args:
            target: the bundle's folder.
            overwrite: replace an existing bundle. Only a folder whose manifest is of a bundle
                and lists every file in it is replaced.

        Raises:
            ExportError: something is at the target that may not be replaced.
        """
        self.target = Path(target)
        self._overwrite = overwrite
        self._check_target()
        self._stack = ExitStack()
        self._temporary: Path | None = None

    def __enter__(self) -> BundleWriter:
        """
        Raises:
            ExportError: the target's parent folder cannot be written to.
        """
        # Absolute, so that "." and ".." have a parent.
        place = Path(os.path.abspath(self.target))  # noqa: PTH100 - links stay as they are
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._temporary = self._stack.enter_context(staging_folder(place))
        except OSError as error:
            raise ExportError(
                f"cannot write to {place.parent}: {error.strerror or error}"
            ) from error
        self._place = place
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary = None
        self._stack.close()

    def path(self, name: str) -> Path:
        """Where to write the file that the bundle will call `name`.

        Raises:
            ExportError: the writer is closed.
        """
        if self._temporary is None:
            raise ExportError("the bundle writer is closed")
        path = self._temporary / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def commit(self, manifest: Manifest, progress: Progress | None = None) -> Bundle:
        """Hash every written file, add the manifest and move the folder to its target.

        Args:
            manifest: its `files` are filled in here.
            progress: called with ("hashing", done, total) for each file.

        Returns:
            the bundle at its target; its manifest lists the files.

        Raises:
            ExportError: the writer is closed, or something appeared at the target meanwhile.
        """
        temporary = self._temporary
        if temporary is None:
            raise ExportError("the bundle writer is closed")
        names = sorted(
            p.relative_to(temporary).as_posix() for p in temporary.rglob("*") if p.is_file()
        )
        files = {}
        for done, name in enumerate(names):
            files[name] = hash_file(temporary / name)
            if progress:
                progress("hashing", done + 1, len(names))
        complete = replace(manifest, files=files)
        (temporary / MANIFEST_NAME).write_text(complete.to_json(), encoding="utf-8")
        if self._overwrite:
            self._check_target()
        try:
            place_folder(temporary, self._place, replace=self._overwrite)
        except FileExistsError as error:
            raise ExportError(
                f"{self.target} has been written by another program meanwhile: it was left as it is"
            ) from error
        self._temporary = None
        return Bundle(self.target, complete)

    def _check_target(self) -> None:
        if not os.path.lexists(self.target):
            return
        if not self._overwrite:
            raise ExportError(f"{self.target} exists: choose another folder or overwrite it")
        try:
            reason = _why_not_replaceable(self.target)
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
        if reason:
            raise ExportError(f"{self.target} {reason}: it will not be overwritten")


def _why_not_replaceable(folder: Path) -> str:
    """Why a folder may not be deleted; "" for a bundle without other files."""
    path = folder / MANIFEST_NAME
    if folder.is_symlink() or not folder.is_dir():
        return "is not a folder"
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
        return "is not a bundle"
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "is not a bundle"
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        return "is not a bundle"
    files = body.get("files")
    listed = {MANIFEST_NAME, *(files if isinstance(files, dict) else ())}
    for found in _entries(folder):
        if found not in listed:
            return f"holds {found}, which its manifest does not list"
    return ""


def _entries(folder: Path) -> list[str]:
    """Everything under a folder that is not itself a folder, by relative POSIX path, sorted."""

    def fail(error: OSError) -> None:
        raise error

    found = []
    for root, folders, names in os.walk(folder, onerror=fail):
        here = Path(root)
        links = [name for name in folders if (here / name).is_symlink()]
        found += [(here / name).relative_to(folder).as_posix() for name in (*names, *links)]
    return sorted(found)
