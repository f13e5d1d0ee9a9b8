"""A runtime that computes nothing and gives scripted replies: for tests of the code that uses it.

model = awares_edge.scripted(["GET_CROPS: ['3']", "42"])
answer = model.ask(image, "What does the sign say?")
assert answer.text == "42" and answer.crops[0].name == "bottom-right"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from awares_edge.errors import InputError, SessionError
from awares_edge.protocol.tokenizer import (
    END_OF_TEXT,
    IM_END,
    IM_START,
    IMAGE_PAD,
    VISION_END,
    VISION_START,
    TextTokenizer,
)
from awares_edge.runtimes.base import (
    EncodedImage,
    Logits,
    Mark,
    Piece,
    Runtime,
    SavedSession,
    Session,
    TextSegment,
)
from awares_edge.vision.patches import Patches

Reply: TypeAlias = "str | Sequence[str]"
"""What one turn says; several texts are its first, second, ... choice."""

Script: TypeAlias = "str | Sequence[Reply]"
"""One reply, or one a turn."""

_IMAGE_CELL = -1


def load(source: object, options: object) -> NoReturn:  # noqa: ARG001
    """Refused: a script is not a file. See `awares_edge.scripted`."""
    raise InputError("the null runtime reads no model: use awares_edge.scripted() in your tests")


def usable_devices() -> list[str]:
    """It computes nothing, anywhere."""
    return ["cpu"]


def byte_tokenizer() -> TextTokenizer:
    """A tokenizer of 256 bytes and Qwen's special tokens: every text, no training."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = (END_OF_TEXT, IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in special])
    return TextTokenizer(tokenizer)


class NullRuntime(Runtime):
    """Gives `replies`, one a turn, and counts everything as a real runtime does.

    A turn begins where a prefill ends with the opening of an assistant message. When the replies
    are used up, the next turn raises `SessionError`.

    Args:
        replies: one a turn; a single text is one reply.

    Raises:
        InputError: a reply is neither a text nor a list of texts.

    Attributes:
        images: sizes (rows, columns in visual tokens) of the pictures encoded so far.
        forwarded: how many cells have been computed so far, over all sessions.
    """

    name: ClassVar[str] = "null"
    saving = "scripted"

    def __init__(
        self,
        replies: Script = (),
        tokenizer: TextTokenizer | None = None,
        context: int = 32_768,
    ) -> None:
        self.tokenizer = tokenizer or byte_tokenizer()
        self.precision = "none"
        self.device = "cpu"
        self.vocabulary = self.tokenizer.vocabulary
        self.context = context
        self.images: list[tuple[int, int]] = []
        self.forwarded = 0
        self._replies: list[list[str]] = []
        self.script(*([replies] if isinstance(replies, str) else replies))
        special = self.tokenizer.special_tokens()
        self.end = special.im_end
        self.opening = [special.im_start, *self.tokenizer.encode("assistant\n")]

    def script(self, *replies: Reply) -> None:
        """Add replies to the end of the queue."""
        for reply in replies:
            choices = [reply] if isinstance(reply, str) else reply
            texts = isinstance(choices, (list, tuple)) and all(isinstance(t, str) for t in choices)
            if not texts or not choices:
                raise InputError(f"a reply must be a text or a list of texts, not {reply!r}")
            self._replies.append(list(choices))

    def next_reply(self) -> list[list[int]]:
        """Token ids of the next reply's choices, end tokens included."""
        if not self._replies:
            raise SessionError("the scripted replies are used up: script one for every turn")
        return [[*self.tokenizer.encode(text), self.end] for text in self._replies.pop(0)]

    def encode_image(self, patches: Patches) -> EncodedImage:
        grid = patches.grid
        self.images.append((grid.rows, grid.columns))
        return EncodedImage(None, grid)

    def _open(self, context: int) -> NullSession:
        return NullSession(self, context)

    def _restore(self, saved: SavedSession, context: int) -> NullSession:
        session = NullSession(self, context, saved.mark)
        session.ids = saved.array("ids", np.int64, (saved.mark.cells,)).tolist()
        return session

    def close(self) -> None:
        pass


class NullSession(Session):
    """Remembers what was appended, and which reply each assistant message got.

    A saved session has no replies left: its next turn gets the next one of the script.
    """

    def __init__(self, runtime: NullRuntime, context: int, mark: Mark | None = None) -> None:
        super().__init__(context, runtime.vocabulary, mark)
        self._runtime = runtime
        self.ids: list[int] = []
        self._replies: dict[int, list[list[int]]] = {}

    def _forward(self, piece: Piece) -> Logits:
        for part in piece.parts:
            text = isinstance(part, TextSegment)
            self.ids += part.ids if text else [_IMAGE_CELL] * part.cells  # type: ignore[union-attr]
        self._runtime.forwarded += piece.cells
        opening = self._runtime.opening
        if self.ids[-len(opening) :] == opening:
            self._replies[len(self.ids)] = self._runtime.next_reply()
        lengths = range(len(self.ids) - piece.keep + 1, len(self.ids) + 1)
        return np.stack([self._logits(length) for length in lengths])

    def _logits(self, length: int) -> NDArray[np.float32]:
        """What follows the first `length` cells: the reply's next token, by choice."""
        row = np.zeros(self._runtime.vocabulary, dtype=np.float32)
        row[self._runtime.end] = 1.0
        start = max((at for at in self._replies if at <= length), default=None)
        if start is not None:
            said = self.ids[start:length]
            for rank, reply in enumerate(reversed(self._replies[start])):
                if len(said) < len(reply) and reply[: len(said)] == said:
                    row[reply[len(said)]] = 10.0 + rank
        return row

    def _truncate(self, cells: int) -> None:
        del self.ids[cells:]
        self._replies = {at: reply for at, reply in self._replies.items() if at <= cells}

    def _fork(self) -> NullSession:
        copy = NullSession(self._runtime, self.context, self.mark())
        copy.ids, copy._replies = list(self.ids), dict(self._replies)
        return copy

    def _save(self) -> dict[str, NDArray[Any]]:
        return {"ids": np.array(self.ids, dtype=np.int64)}

    def _close(self) -> None:
        self.ids.clear()
