"""Pictures in a folder, for questions after a restart: found again as those in memory are."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from awares_edge._version import __version__
from awares_edge.controller import Model, Picture, SavedPicture
from awares_edge.errors import AwaresError, ContextOverflow, InputError, RuntimeUnavailable
from awares_edge.files import whole_path
from awares_edge.runtimes.caches import digest, is_private
from awares_edge.serve import kv_file
from awares_edge.serve.kv_file import Key
from awares_edge.serve.options import ServeOptions

_ENDING = ".kv"
_UNFINISHED = ".awares-edge.*.tmp"
"""What a process that was killed leaves of a file that it was writing: see `files`."""
_WAITING = 2
"""Pictures that may wait to be written: each is a copy in memory."""
_log = logging.getLogger(__name__)


class SavedPictures:
    """Saved pictures of one model in a folder of this user, the least recently used removed first.

    A picture is written behind its answer, by a thread of its own. One that cannot be written, read
    or used costs nothing but the computation: it is computed anew.

    Args:
        most_bytes: of all files together.

    Raises:
        InputError: the runtime cannot save pictures, the model was not loaded from files, or the
            folder is not one that only this user can write to.

    Attributes:
        counts: how many pictures were "loaded", "written" and "discarded" (files that could not be
            used) so far.
    """

    def __init__(self, model: Model, folder: Path, most_bytes: int) -> None:
        self._facts = _facts(model)
        self._folder, self._most_bytes = folder, most_bytes
        make_private(folder)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="save-kv")
        self._room = threading.BoundedSemaphore(_WAITING)
        self._counting = threading.Lock()
        self.counts = Counter(loaded=0, written=0, discarded=0)
        self._warned = False
        self._make_room(folder, 0)  # there may be more than is allowed now

    @classmethod
    def of(cls, model: Model, options: ServeOptions) -> SavedPictures | None:
        """As the options say; None where pictures are not to be saved."""
        if options.save_kv is None:
            return None
        return cls(model, options.save_kv, options.save_kv_bytes)

    def key(self, image_sha256: str, image: Image.Image) -> Key:
        """What a picture's KV depends on.

        Args:
            image_sha256: of the files that the picture was made of.
            image: as it is asked about.
        """
        # The pixels too: they also depend on how pictures are decoded and laid out.
        pixels = hashlib.sha256(f"{image.mode} {image.size} ".encode())
        pixels.update(image.tobytes())
        return {**self._facts, "image": image_sha256, "pixels": pixels.hexdigest()}

    def restore(self, key: Key, picture: Picture) -> bool:
        """Take what was saved of a newly opened picture; whether there was anything to use."""
        path = self._path(key)
        try:
            picture.restore(kv_file.read(self._read(path), key))
        except FileNotFoundError:
            return False
        except (ContextOverflow, RuntimeUnavailable, MemoryError) as error:
            self._warn("%s cannot be used now: %s", path, error)  # no fault of the file
            return False
        except (AwaresError, OSError, ValueError) as error:
            self._count("discarded")
            self._warn("%s cannot be used and is removed: %s", path, error)
            with suppress(OSError):
                path.unlink()
            return False
        self._count("loaded")
        with suppress(OSError):
            os.utime(path)  # the last use decides which is removed first
        return True

    def save(self, key: Key, picture: Picture) -> bool:
        """Have a picture written soon; False where it is not, as when too many wait already.

        Its conversation is forgotten.
        """
        if not self._room.acquire(blocking=False):
            return False
        try:
            self._writer.submit(self._write, key, picture.save())
        except (AwaresError, MemoryError, RuntimeError) as error:  # or closed meanwhile
            self._room.release()
            self._warn("a picture could not be saved: %s", error)
            return False
        return True

    def forget(self, key: Key) -> None:
        """Remove a picture's file soon, and what waits to be written of it."""
        with suppress(RuntimeError):  # closed meanwhile
            self._writer.submit(self._path(key).unlink, missing_ok=True)

    def close(self) -> None:
        """Write what waits. Closing twice is allowed."""
        self._writer.shutdown(wait=True)

    def _path(self, key: Key) -> Path:
        return self._folder / f"{digest(key)}{_ENDING}"

    def _read(self, path: Path) -> bytes:
        """A file's bytes.

        Raises:
            InputError: it is not a file that only this user can write to, or it is too large.
            OSError: it cannot be read.
        """
        if not is_private(self._folder):
            raise InputError("others can write to the folder")
        with open(path, "rb", opener=_open_regular) as file:
            status = os.fstat(file.fileno())
            mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if not (stat.S_ISREG(status.st_mode) and mine) or status.st_mode & 0o022:
                raise InputError("others can write to it")
            if status.st_size > self._most_bytes:
                raise InputError("it is too large")
            return file.read()

    def _write(self, key: Key, picture: SavedPicture) -> None:
        path = self._path(key)
        try:
            if not is_private(self._folder):
                raise InputError(f"others can write to {self._folder}")
            self._make_room(path, kv_file.file_size(key, picture))
            with whole_path(path) as temporary, open(temporary, "xb", opener=_open_own) as file:
                kv_file.write(file, key, picture)
            self._count("written")
        except Exception as error:  # nothing here may stop the server
            self._warn("a picture could not be saved: %s", error)
        finally:
            self._room.release()

    def _make_room(self, path: Path, size: int) -> None:
        """Remove the files that were used least recently, until one of `size` bytes fits.

        Args:
            path: of that file; one that is there already is about to be replaced.

        Raises:
            InputError: it never fits.
        """
        if size > self._most_bytes:
            raise InputError(f"it has {size:,} bytes, all files together {self._most_bytes:,}")
        files = []
        for pattern in (f"{'?' * 64}{_ENDING}", _UNFINISHED):
            for file in self._folder.glob(pattern):
                with suppress(FileNotFoundError):  # another process removed it
                    status = file.lstat()
                    if file != path and stat.S_ISREG(status.st_mode):
                        files.append((status.st_mtime_ns, status.st_size, file))
        files.sort(reverse=True)
        left = self._most_bytes - size - sum(taken for _, taken, _ in files)
        while left < 0:
            _, taken, oldest = files.pop()
            oldest.unlink(missing_ok=True)
            left += taken

    def _count(self, what: str) -> None:
        with self._counting:
            self.counts[what] += 1

    def _warn(self, message: str, *about: object) -> None:
        """Once: a folder that has become unusable would fill the log."""
        _log.log(logging.INFO if self._warned else logging.WARNING, message, *about)
        self._warned = True


def _open_regular(path: str, flags: int) -> int:
    """Follow no link, and wait for no writer of a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _open_own(path: str, flags: int) -> int:
    """Readable by this user only: a picture's KV tells what is on it."""
    return os.open(path, flags, 0o600)


def _facts(model: Model) -> Key:
    """What a picture's KV depends on beside the picture.

    Raises:
        InputError: the runtime cannot save, or the model was not loaded from files.
    """
    runtime = model.runtime
    if not runtime.saving:
        raise InputError(
            f"the runtime {runtime.name} cannot save a picture's KV cache: serve without saving it"
        )
    if model.identity is None:
        raise InputError("only a model that was loaded from files has pictures to save")
    prompt = model.prompt
    return {
        "awares-edge": __version__,
        "model": model.identity(),
        "runtime": f"{runtime.name} {runtime.precision} {runtime.device}, {runtime.saving}",
        "profile": digest(asdict(model.protocol)),
        "preprocessing": digest(asdict(model.preprocessing)),
        "prefix": digest([prompt.system(), prompt.open_picture()]),
    }


def make_private(folder: Path) -> None:
    """Make the folder where it is missing.

    Raises:
        InputError: others can write to it, or it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = is_private(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be used: {error.strerror or error}") from error
    if not private:
        raise InputError(
            f"{folder} must be a folder of yours that nobody else can write to: chmod 700 {folder}"
        )
