"""A reply while it is being generated: its tokens, what may be shown, and where to go back to."""

from __future__ import annotations

from dataclasses import dataclass

from awares_edge.protocol.call import CallSyntax
from awares_edge.protocol.tokenizer import TextTokenizer
from awares_edge.runtimes.base import Logits


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two tokens, at a whole character, to go back to.

    Attributes:
        token: tokens before it.
        character: characters before it.
        logits: float32 [vocabulary] of what follows.
    """

    token: int
    character: int
    logits: Logits


class Reply:
    """Tokens and text of one reply.

    Attributes:
        ids: generated tokens, without the end token.
        text: their text, up to the last whole character.
        ended: whether the model ended it.
        end_cached: whether its end token is in the cache.
    """

    def __init__(self, tokenizer: TextTokenizer, call: CallSyntax, logits: Logits) -> None:
        self.ids: list[int] = []
        self.text = ""
        self.ended = False
        self.end_cached = False
        self._tokenizer = tokenizer
        self._call = call
        self._stream = tokenizer.stream()
        self._shown = 0
        self._places = [Place(0, 0, logits)]
        self._barred: dict[int, set[int]] = {}

    def add(self, token: int) -> None:
        self.ids.append(token)
        self.text += "".join(self._stream.feed([token]))

    def with_token(self, token: int) -> str:
        """The text, were `token` added."""
        # Text up to a place is known: a long reply is not decoded again.
        place = self._places[-1]
        return self.text[: place.character] + self._tokenizer.decode(
            [*self.ids[place.token :], token]
        )

    def followed_by(self, logits: Logits) -> None:
        """Remember the logits behind the last token, where one may have to go back to it."""
        # A call begins at the first place, within the marker's length of the end, or is there
        # already: the logits of other places are not kept.
        if self._call.first_sign(self.text) is not None:
            return
        first, *others = self._places
        near = len(self.text) - len(self._call.marker)
        self._places = [first, *(p for p in others if p.character >= near)]
        if len(self.text) > self._places[-1].character:
            self._places.append(Place(len(self.ids), len(self.text), logits))

    def barred(self) -> set[int]:
        """Tokens that may not come next."""
        return self._barred.get(len(self.ids), set())

    def release(self, *, last: bool = False) -> str:
        """Text that may be shown now: none that can still become part of a call.

        Args:
            last: whether the reply is complete and an answer, so that all of it may be shown.
        """
        certain = len(self.text) if last else self._call.certain(self.text)
        while len(self._places) > 1 and self._places[1].character <= certain:
            del self._places[0]
        # Whole tokens only, because a call is removed by whole tokens.
        whole = len(self.text) if certain == len(self.text) else self._places[0].character
        start, self._shown = self._shown, max(self._shown, whole)
        return self.text[start : self._shown]

    def call_start(self) -> int | None:
        """Where the call begins that this complete reply holds; None for an answer.

        What was shown stays: a call that begins there, because another one was taken back from
        within a token, is taken back from where nothing was shown yet.
        """
        at = self._call.call_start(self.text)
        if at is None:
            return None
        at = max(at, self._shown)
        return at if at < len(self.text) else None

    def go_back(self, character: int) -> Place:
        """Forget what was generated from `character` on, and bar the token that began it."""
        place = next(p for p in reversed(self._places) if p.character <= character)
        self._barred = {at: ids for at, ids in self._barred.items() if at <= place.token}
        self._barred.setdefault(place.token, set()).add(self.ids[place.token])
        self._places = [p for p in self._places if p.character <= place.character]
        del self.ids[place.token :]
        self.text = self.text[: place.character]
        self.ended = self.end_cached = False
        self._stream = self._tokenizer.stream()
        for _ in self._stream.feed(self.ids):
            pass
        return place
