"""What the chunks of one reply say: text as it comes, and at the end why, how many and how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from awares_edge.controller.trace import COUNTS, Phase, TurnTrace
from awares_edge.errors import ContextOverflow, EndpointError
from awares_edge.remote.failures import is_too_long, said, unusable
from awares_edge.schema import shown

_MOST_TOKENS = 1 << 40
_MOST_MS = 1e12
_REASONING = ("reasoning_content", "reasoning")  # DeepSeek's name, and vLLM's since 0.22


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a reply.

    Attributes:
        text: of the reply; reasoning: what the server split off as the model's thoughts.
    """

    text: str = ""
    reasoning: str = ""


@dataclass(slots=True)
class Ending:
    """What is known at the end of a reply.

    Attributes:
        finish: why it ended, as the server says it; None before the end.
        prompt, cached, generated: tokens of the prompt, those of them whose KV was there, and
            those that were generated; None where the server does not report them.
        prefill_ms, decode_ms: None where the server does not report them.
    """

    finish: str | None = None
    prompt: int | None = None
    cached: int | None = None
    generated: int | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None

    def write(self, trace: TurnTrace) -> None:
        """Put what is known into a turn's trace, and mark the rest as unreported."""
        known = set()
        if self.prompt is not None and self.cached is not None:
            # If a turn is requested twice, the first request says what was cached before it.
            trace.reused_tokens = trace.reused_tokens or self.cached
            trace.prefill_tokens += max(0, self.prompt - self.cached)
            known |= {"reused_tokens", "prefill_tokens"}
        if self.generated is not None:
            trace.decode_tokens = self.generated
            known |= {"decode_tokens", "discarded_tokens"}
        spent: tuple[tuple[Phase, float | None], ...] = (
            ("prefill", self.prefill_ms),
            ("decode", self.decode_ms),
        )
        for phase, ms in spent:
            if ms is not None:
                trace.ms[phase] += ms
                known.add(phase)
        trace.unreported = frozenset({*COUNTS, "vision", "prefill", "decode"} - known)


@dataclass(slots=True)
class ChunkReader:
    """Reads the chunks of one reply.

    Attributes:
        ending: what is known so far.
    """

    url: str
    ending: Ending = field(default_factory=Ending)

    def read(self, chunk: Mapping[str, Any]) -> Piece:
        """The text in a chunk; what else it says goes into `ending`.

        Raises:
            ContextOverflow: the server says that its context is too short.
            EndpointError: the chunk is an error, or is not of a chat completion.
        """
        if "error" in chunk:
            reason = said(dict(chunk))
            if is_too_long(str(chunk["error"])):
                raise ContextOverflow("picture and question do not fit into the server's context")
            raise EndpointError(f"{self.url} failed while it answered: {shown(reason, 200)}")
        self._count(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list) or (choices and not isinstance(choices[0], dict)):
            raise unusable(self.url, "its choices are not a list of objects")
        if not choices:
            return Piece()
        finish = choices[0].get("finish_reason")
        if isinstance(finish, str):
            self.ending.finish = finish
        delta = choices[0].get("delta") or {}
        if not isinstance(delta, dict):
            raise unusable(self.url, "a delta is not an object")
        reasoning = next((self._text(delta, n) for n in _REASONING if delta.get(n)), "")
        return Piece(self._text(delta, "content"), reasoning)

    def _text(self, delta: Mapping[str, Any], name: str) -> str:
        text = delta.get(name)
        if text is None:
            return ""
        if not isinstance(text, str):
            raise unusable(self.url, f"{name} is not text")
        # Half of a surrogate pair can be spelled in JSON, and not be printed.
        return text.encode("utf-8", "replace").decode()

    def _count(self, chunk: Mapping[str, Any]) -> None:
        ending = self.ending
        usage, timings = _object(chunk, "usage"), _object(chunk, "timings")
        if usage:
            details = _object(usage, "prompt_tokens_details")
            ending.prompt = _number(usage, "prompt_tokens")
            ending.generated = _number(usage, "completion_tokens")
            ending.cached = _number(details, "cached_tokens")
        if timings:
            ending.prefill_ms = _milliseconds(timings, "prompt_ms")
            ending.decode_ms = _milliseconds(timings, "predicted_ms")


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _number(value: Mapping[str, Any], name: str) -> int | None:
    found = value.get(name)
    return found if type(found) is int and 0 <= found < _MOST_TOKENS else None


def _milliseconds(value: Mapping[str, Any], name: str) -> float | None:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return float(found) if 0 <= found < _MOST_MS else None
