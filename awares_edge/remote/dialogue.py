"""A conversation that a server holds: the loop's `Dialogue` as messages, sent whole each turn.

Each request is the one before it with messages added at the end, so that the server's prefix cache
holds all but the new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from awares_edge.controller.cuts import PictureCuts
from awares_edge.controller.decoding import OTHER_TAGS, common_prefix
from awares_edge.controller.generated import Limits
from awares_edge.controller.options import AskOptions
from awares_edge.controller.shown import Shown
from awares_edge.controller.trace import TurnTrace, View
from awares_edge.protocol.regions import Region
from awares_edge.remote import messages
from awares_edge.remote.barring import without_call
from awares_edge.remote.chunks import Ending, Piece
from awares_edge.remote.link import Link
from awares_edge.remote.messages import Message

_ANSWER_ROOM = 16
_MARKS = 16
"""Tokens that a chat template puts around a message, at most."""
_SIGN = 3
"""How much of a call's marker shows that it begins, at least, in characters."""


@dataclass(slots=True)
class Conversation:
    """What was said about one view so far.

    Attributes:
        messages: all of them, in order.
        shown: the regions that were sent.
        calls: how many calls were made.
    """

    messages: list[Message] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    calls: int = 0

    def copy(self) -> Conversation:
        return Conversation(list(self.messages), list(self.shown), self.calls)


@dataclass(frozen=True, slots=True)
class RemoteReply:
    """One complete reply; satisfies `ModelReply`."""

    text: str
    finished: bool
    call_barred: bool = False


class _Text:
    """The text of a reply as the model wrote it: reasoning that a server split off is put back."""

    def __init__(self) -> None:
        self._text, self._thinking = "", False

    def add(self, piece: Piece) -> str:
        """All of it, with one more piece."""
        if piece.reasoning and not self._thinking:
            self._text, self._thinking = f"{self._text}<think>", True
        self._text += piece.reasoning
        if piece.text and self._thinking:
            self._text, self._thinking = f"{self._text}</think>", False
        self._text += piece.text
        return self._text

    def whole(self) -> str:
        return self._text


class RemoteDialogue:
    """The conversation about one view of a picture, while one question is answered.

    Satisfies `Dialogue`.

    Args:
        before: the conversation so far, by view; `finish` puts this question's into it.
        picture: the data URL of a picture at the size that it is sent in.
    """

    def __init__(
        self,
        link: Link,
        cuts: PictureCuts,
        options: AskOptions,
        limits: Limits,
        before: dict[View, Conversation],
        picture: Callable[[View | Shown, TurnTrace], str],
    ) -> None:
        self._link, self._cuts, self._limits = link, cuts, limits
        self._options, self._before, self._picture = options, before, picture
        self._profile = cuts.profile
        self._syntax = cuts.profile.call
        self._used: int | None = None

    @property
    def view_tokens(self) -> int:
        return self._cuts.tokens(self._cuts.size(self._view))

    def shown(self) -> list[Shown]:
        return self._conversation.shown

    def holds(self, shown: Shown) -> bool:
        size = shown.region.size
        return any(one.box == shown.box and one.region.size == size for one in self.shown())

    @property
    def decision(self) -> None:
        """Not known: a server shows no logits."""

    def bias(self) -> None:
        """Not known either; options that need logits were refused before."""

    def begin(self, view: View, question: str, trace: TurnTrace) -> int:
        self._view, self._question = view, question
        self._limits.check("")
        kept = self._before.get(view) if self._options.follow_up else None
        self._conversation = talk = kept.copy() if kept else Conversation()
        if talk.messages:
            talk.messages.append(messages.follow_up(self._profile, question))
        else:
            seen = self._picture(view, trace)
            talk.messages += [
                messages.system(self._profile),
                messages.question(self._profile, seen, question),
            ]
        return 0

    def follow(
        self,
        trace: TurnTrace,
        *,
        allow_call: bool,
        bias: float | None,  # noqa: ARG002
    ) -> Iterator[str | RemoteReply]:
        self._trace, self._shown_text = trace, ""
        heard = yield from self._listen({})
        if not allow_call and self._syntax.call_start(heard.text) is not None:
            heard = yield from self._again(barred=True)
        yield from self._rest(heard)

    def follow_without_call(self) -> Iterator[str | RemoteReply]:
        if self._syntax.call_start(self._reply.text) is None and self._reply.text:
            yield self._reply
            return
        heard = yield from self._again(barred=False)
        yield from self._rest(heard)

    def force(self, text: str, trace: TurnTrace) -> RemoteReply:
        self._trace, self._shown_text = trace, ""
        self._reply, self._heard = RemoteReply(text, finished=True), False
        return self._reply

    def free(self) -> int | None:
        context = self._link.served.context
        if context is None or self._used is None:
            return None
        return context - self._used - _ANSWER_ROOM

    def cells_of(self, regions: Sequence[Region]) -> int:
        sizes = [one.size for one in regions]
        message = messages.regions(
            self._profile, [""] * len(sizes), sizes[0], asked=self._question, calls=0
        )
        # Two marks around each picture.
        pictures = sum(map(self._cuts.tokens, sizes)) + 2 * len(sizes)
        return messages.text_length(message) + pictures + _MARKS

    def cells_of_error(self, problem: str) -> int:
        return messages.text_length(messages.error(self._profile, problem)) + _MARKS

    def show(self, regions: Sequence[Shown], trace: TurnTrace) -> None:
        talk = self._conversation
        message = messages.regions(
            self._profile,
            [self._picture(one, trace) for one in regions],
            regions[0].region.size,
            asked=self._question,
            calls=talk.calls,
        )
        self._limits.check("")
        talk.shown += regions
        self._reply_with(message)

    def send_error(self, problem: str, trace: TurnTrace) -> None:  # noqa: ARG002
        self._reply_with(messages.error(self._profile, problem))

    def likelihood(self, answer: str) -> None:
        """Not known without logits."""

    def finish(self) -> None:
        self._conversation.messages.append(messages.said(self._reply.text))
        self._before[self._view] = self._conversation

    def count(self, text: str) -> None:
        """Not known without the model's tokenizer."""

    def _reply_with(self, message: Message) -> None:
        talk = self._conversation
        talk.messages += [messages.said(self._reply.text), message]
        talk.calls += 1

    def _listen(self, more: dict[str, Any]) -> Generator[str, None, RemoteReply]:
        """One request: text that is certain not to be part of a call, as it comes; the reply."""
        body = {
            "messages": self._conversation.messages,
            "temperature": 0,
            "max_tokens": self._limits.max_new_tokens,
            **({"stop": list(self._profile.limits.stop)} if self._profile.limits.stop else {}),
            **self._link.served.kind.extra,
            **more,
        }
        reader = self._link.reader()
        text = _Text()
        with closing(self._link.complete(body, reader, self._limits, text.whole)) as replies:
            for piece, _ in replies:
                said = text.add(piece)
                if new := self._release(said[: self._syntax.certain(said)]):
                    yield new
        self._note(reader.ending)
        reply = self._with_stop(text.whole(), reader.ending)
        self._reply, self._heard = RemoteReply(reply, reader.ending.finish != "length"), True
        return self._reply

    def _again(self, *, barred: bool) -> Generator[str, None, RemoteReply]:
        """Ask for the last reply again, without its call."""
        grammar = self._link.served.kind.grammar
        heard = self._reply
        if grammar is not None or not self._heard:
            self._trace.discarded_tokens += self._trace.decode_tokens
            held = grammar(self._grammar(heard.text)) if grammar else {}
            heard = yield from self._listen(held)
        start = self._syntax.call_start(heard.text)
        # A server without grammars: the text before the call is the answer.
        text = heard.text if start is None else heard.text[:start]
        self._reply = RemoteReply(text, heard.finished, call_barred=barred or start is not None)
        return self._reply

    def _grammar(self, reply: str) -> str:
        """Of replies like this one, without its call."""
        start = self._syntax.call_start(reply) or 0
        call = reply[start:].lstrip()
        before = reply[: len(reply) - len(call)]
        marker = self._syntax.marker
        # Characters that the answer's tags also begin with are not barred.
        shared = max(common_prefix(marker, tag) for tag in OTHER_TAGS)
        if shared and call.startswith(marker[:shared]):
            before, call = before + marker[:shared], call[shared:]
        sign = marker[: max(_SIGN, shared + 1)]
        first = call[:1] or marker[0]
        if self._profile.tool.syntax != "crops":
            return without_call(sign, before, first)
        # Pieces of a call are read as a damaged one: the end of its marker, a list without it.
        pieces = "".join(c for c in marker if not c.isalnum())
        return without_call(sign, before, first + pieces, "[]")

    def _rest(self, heard: RemoteReply) -> Iterator[str | RemoteReply]:
        """What is left to say of a reply, and the reply."""
        if self._syntax.call_start(heard.text) is None and (new := self._release(heard.text)):
            yield new
        yield heard

    def _release(self, text: str) -> str:
        """What of a text was not passed on yet; a reply that is asked for again begins alike."""
        new = text[len(self._shown_text) :]
        self._shown_text += new
        return new

    def _note(self, ending: Ending) -> None:
        known = ending.prompt is not None and ending.generated is not None
        self._used = (ending.prompt or 0) + (ending.generated or 0) if known else None
        ending.write(self._trace)

    def _with_stop(self, text: str, ending: Ending) -> str:
        """The reply with the stop text that ended it, which most servers leave out.

        They do not say which it was: it is the one that makes a call of the reply.
        """
        if ending.finish == "stop" and self._syntax.parse(text).status in ("none", "invalid"):
            for stop in self._profile.limits.stop:
                if self._syntax.parse(text + stop).status in ("ok", "repaired"):
                    return text + stop
        return text
