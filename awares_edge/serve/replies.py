"""Answers in the shapes that OpenAI's and llama.cpp's clients read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from awares_edge.controller import Answer, CropsRequested
from awares_edge.serve.images import Box
from awares_edge.serve.shown import Finish

OBJECT, CHUNK = "chat.completion", "chat.completion.chunk"


@dataclass(frozen=True, slots=True)
class Heading:
    """What every object of one reply carries."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def object(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**head, "choices": choices, **more}


def completion(
    head: Heading,
    text: str,
    finish: Finish,
    usage: dict[str, Any],
    more: dict[str, Any],
    reasoning: str = "",
) -> dict[str, Any]:
    """A whole answer; what the model thought before it under the name that DeepSeek gave it."""
    message = {"role": "assistant", "content": text, "refusal": None}
    if reasoning:
        message["reasoning_content"] = reasoning
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return head.object(OBJECT, [choice], usage=usage, **more)


def chunk(
    head: Heading, delta: dict[str, Any], finish: Finish | None = None, **more: Any
) -> dict[str, Any]:
    """A piece of a streamed answer."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return head.object(CHUNK, [choice], **more)


def usage_chunk(head: Heading, usage: dict[str, Any]) -> dict[str, Any]:
    """The last chunk of a stream with `include_usage`: no choice, and the counts."""
    return head.object(CHUNK, [], usage=usage)


def sse(body: dict[str, Any] | str) -> bytes:
    """One server-sent event."""
    text = body if isinstance(body, str) else json.dumps(body)
    return f"data: {text}\n\n".encode()


def usage(answer: Answer | None) -> dict[str, Any]:
    """Token counts; all 0 where the model was not asked.

    The prompt is everything before and between what the model generated, visual tokens included;
    cached tokens are those whose KV was there when the question began. The tokens of a call for
    crops are counted as reasoning: generated, and not shown.
    """
    turns = answer.turns if answer else ()
    cached = turns[0].reused_tokens if turns else 0
    prompt = cached + sum(turn.prefill_tokens for turn in turns)
    generated = sum(turn.decode_tokens for turn in turns)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": sum(turn.decode_tokens for turn in turns[:-1]),
            "audio_tokens": 0,
        },
    }


def timings(answer: Answer) -> dict[str, Any]:
    """llama.cpp's object: what was computed, in tokens and milliseconds; the prompt's time
    includes preprocessing and the vision tower.
    """
    prompt = sum(turn.prefill_tokens for turn in answer.turns)
    generated = sum(turn.decode_tokens for turn in answer.turns)
    predicted = sum(turn.ms["decode"] for turn in answer.turns)
    before = sum(sum(turn.ms.values()) for turn in answer.turns) - predicted
    return {
        "cache_n": answer.turns[0].reused_tokens,
        **_rates("prompt", prompt, before),
        **_rates("predicted", generated, predicted),
    }


def _rates(name: str, tokens: int, ms: float) -> dict[str, Any]:
    return {
        f"{name}_n": tokens,
        f"{name}_ms": round(ms, 3),
        f"{name}_per_token_ms": round(ms / tokens, 3) if tokens else 0.0,
        f"{name}_per_second": round(tokens / ms * 1e3, 3) if ms else 0.0,
    }


def extension(
    answer: Answer | None, cells: Sequence[Box], sent: int, ignored: Sequence[str]
) -> dict[str, Any]:
    """The `awares` object: crops, visual tokens, RTR, times by phase, and what was done to the
    request on the way to the model.

    Args:
        cells: where each picture that the model saw is on the sheet, in pixels.
        sent: pictures in the whole conversation.
        ignored: parameters that were not acted on.
    """
    images = {"sent": sent, "shown": len(cells), "boxes": [list(cell) for cell in cells]}
    more: dict[str, Any] = {"images": images, "ignored": list(ignored)}
    if answer is None:
        return {"asked": False, **more}
    looked = {
        "view": answer.view,
        "call_text": answer.call_text,
        "zoomed": crops(answer.crops),
        "log_probability": answer.log_probability,
    }
    return {"asked": True, **answer.to_dict(), **looked, **more}


def crops(event: CropsRequested | Sequence[Any]) -> list[dict[str, Any]]:
    """Crops with their boxes, in pixels of the picture (or sheet) that was asked about."""
    found = event.crops if isinstance(event, CropsRequested) else event
    return [{**asdict(c), "box": list(c.box), "size": list(c.size)} for c in found]
