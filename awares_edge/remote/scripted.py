"""Replies of a fixed length and text, so that every server does the same work when it is measured.

A server's logits cannot be steered. It is asked for as many tokens as a scripted reply has, and
told not to stop earlier; what it writes is replaced by the script as it comes. So it does the work
of that reply, and the loop goes on as scripted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from awares_edge.controller.generated import Limits
from awares_edge.remote.chunks import ChunkReader, Piece
from awares_edge.remote.link import Link
from awares_edge.remote.servers import PLAIN


@dataclass(frozen=True, slots=True)
class Scripted:
    """A reply.

    Attributes:
        text: what the loop reads.
        tokens: how many the server generates.
    """

    text: str
    tokens: int


class ScriptedLink(Link):
    """Chat completions that read as scripted.

    Args:
        link: what they pass through.
        replies: of each turn; later turns repeat the last one.
    """

    def __init__(self, link: Link, replies: Sequence[Scripted]) -> None:
        super().__init__(link.server, link.served)
        self._replies = replies

    def complete(
        self,
        body: dict[str, Any],
        reader: ChunkReader,
        limits: Limits,
        partial: Callable[[], str] = str,
    ) -> Generator[tuple[Piece, dict[str, Any]], None, None]:
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        reply = self._replies[min(turn, len(self._replies) - 1)]
        body = {**body, "max_tokens": reply.tokens}
        body.pop("stop", None)
        if self.served.kind is not PLAIN:
            # vLLM, SGLang and llama.cpp have it under this name; other servers may refuse it.
            body["ignore_eos"] = True
        words = re.findall(r"\s*\S+", reply.text)
        for piece, chunk in super().complete(body, reader, limits, partial):
            came = bool(piece.text or piece.reasoning) and bool(words)
            yield Piece(words.pop(0) if came else ""), chunk
        yield Piece("".join(words)), {}
        reader.ending.finish = "stop"
