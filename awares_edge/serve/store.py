"""Pictures whose KV is kept, so that the next question about them does not compute it again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from awares_edge.controller import Answer, Model, Picture
from awares_edge.serve.images import Box, Sheet
from awares_edge.serve.kv_file import Key
from awares_edge.serve.saved import SavedPictures

# Runtimes allocate cells in steps; rounding up keeps the estimate on the safe side.
_STEP = 256


@dataclass(slots=True)
class Kept:
    """An open picture.

    Attributes:
        cells: where each picture of the question is on it (see `images.Sheet`).
        nbytes: estimate of its memory; 0 before its first answer.
        answered: whether its last question came to its end.
        key: what its KV depends on, where pictures are saved.
        saved: what of it has been saved.
    """

    picture: Picture
    cells: tuple[Box, ...]
    nbytes: int = 0
    answered: bool = False
    key: Key | None = None
    saved: frozenset[object] = frozenset()


class PictureStore:
    """Open pictures by what they were computed from, the least recently used ones closed first.

    A picture is found again only by the SHA-256 of its files and of everything that decides what
    is in its cache: the profile with its system prompt, its sizes and limits. It is lent to one
    question at a time, and comes back only if that question was answered: one that failed or was
    interrupted costs the picture its place.

    Args:
        most: pictures that are kept.
        most_bytes: memory of all of them, as estimated.
        cell_bytes: memory of one KV cell.
        saved: where pictures are saved, and looked for when they are not in memory; closed with
            this store.
    """

    def __init__(
        self,
        model: Model,
        *,
        most: int,
        most_bytes: int,
        cell_bytes: int,
        saved: SavedPictures | None = None,
    ) -> None:
        self._model, self._saved = model, saved
        self._most, self._most_bytes, self._cell_bytes = most, most_bytes, cell_bytes
        self._profile = hashlib.sha256(repr(model.protocol).encode())
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def nbytes(self) -> int:
        """Estimated memory of the pictures that are kept and not lent."""
        with self._lock:
            return sum(kept.nbytes for kept in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def borrow(self, digest: str, make: Callable[[], Sheet]) -> Iterator[Kept]:
        """A picture for one question: the kept one, or a new one.

        Args:
            digest: of the files that the picture is made of.
            make: decodes them; called only where none is kept.
        """
        key = self._key(digest)
        with self._lock:
            kept = self._kept.pop(key, None)
        if kept is None:
            kept = self._open(digest, make())
        kept.answered = False
        try:
            yield kept
        finally:
            self._give_back(key, kept)

    def answered(self, kept: Kept, answer: Answer) -> None:
        """Say that a lent picture's question came to its end."""
        last = answer.turns[-1]
        used = last.reused_tokens + last.prefill_tokens + last.decode_tokens
        views = kept.picture.views
        pixels = sum(w * h for w, h in {views.image.size, views.source.size})
        memory = 3 * pixels + -(-used // _STEP) * _STEP * self._cell_bytes
        # Buffers never shrink: a later, shorter question does not give memory back.
        kept.nbytes, kept.answered = max(kept.nbytes, memory), True

    def close(self) -> None:
        """Close every picture; lent ones are closed when they come back."""
        with self._lock:
            self._closed, gone = True, list(self._kept.values())
            self._kept.clear()
        for kept in gone:
            kept.picture.close()
        if self._saved is not None:
            self._saved.close()

    @property
    def saved_counts(self) -> Mapping[str, int]:
        """How many pictures were loaded from files, written to them, or discarded there."""
        return {} if self._saved is None else self._saved.counts

    def _open(self, digest: str, sheet: Sheet) -> Kept:
        kept = Kept(self._model.open(sheet.image), sheet.cells)
        if self._saved is not None:
            kept.key = self._saved.key(digest, sheet.image)
            if self._saved.restore(kept.key, kept.picture):
                kept.saved = kept.picture.views.contents
        return kept

    def _save(self, kept: Kept) -> None:
        """Save a picture that was answered about, if there is more of it than was saved; forget
        what was saved of one that failed."""
        if self._saved is None or kept.key is None or self._closed:
            return
        if not kept.answered:
            self._saved.forget(kept.key)
            return
        contents = kept.picture.views.contents
        if not contents <= kept.saved and self._saved.save(kept.key, kept.picture):
            kept.saved = contents

    def _key(self, digest: str) -> str:
        whole = self._profile.copy()
        whole.update(digest.encode())
        return whole.hexdigest()

    def _give_back(self, key: str, kept: Kept) -> None:
        self._save(kept)
        gone = []
        with self._lock:
            # Two questions about one picture at a time open it twice; one copy is enough.
            if kept.answered and not self._closed and key not in self._kept:
                self._kept[key] = kept
            else:
                gone.append(kept)
            while self._kept and (len(self._kept) > self._most or self._bytes() > self._most_bytes):
                gone.append(self._kept.popitem(last=False)[1])
        for old in gone:
            old.picture.close()

    def _bytes(self) -> int:
        return sum(kept.nbytes for kept in self._kept.values())
