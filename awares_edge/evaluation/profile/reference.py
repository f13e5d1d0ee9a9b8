"""The published way to answer, measured: two `generate` calls of transformers, nothing kept."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any, cast

import numpy as np
from PIL import Image

from awares_edge.controller.model import Model
from awares_edge.evaluation.profile.job import Job
from awares_edge.evaluation.profile.workload import call_ids, noise_picture, shuffled_question
from awares_edge.vision.patches import Patches, extract_patches

Part = tuple[int, ...] | Patches


def reference_asker(model: Model, job: Job) -> Callable[[np.random.Generator], dict[str, Any]]:
    """Something that asks one question the published way, with calls and answers as scripted.

    Args:
        model: a checkpoint, loaded with the torch runtime.
    """
    from awares_edge.runtimes.torch_generate import generate
    from awares_edge.runtimes.torch_reference import TorchRuntime

    runtime = cast("TorchRuntime", model.runtime)
    calls = call_ids(model, job)

    def ask(rng: np.random.Generator) -> dict[str, Any]:
        image, asked = noise_picture(rng, job.side), model.prompt.ask(shuffled_question(rng))
        cpu, start = process_time(), perf_counter()
        limited = model.protocol.limited_view(image)
        source = model.protocol.source_view(limited)
        parts: list[Part] = [model.prompt.system(), model.prompt.open_picture()]
        turns: list[dict[str, Any]] = []
        pieces = [(model.protocol.first_picture(limited), asked)]
        for reply in [*calls, None]:
            began = perf_counter()
            new = _patched(model, pieces)
            parts += new
            ready = perf_counter()
            times: list[float] = []
            count = job.answer_tokens + 1 if reply is None else len(reply) + 1
            generate(runtime, parts, count, lambda: times.append(perf_counter()))  # noqa: B023
            turns.append(_turn(parts, new, count, (began, ready, times[0], perf_counter())))
            if reply is not None:
                parts.append(reply)
                opening, pieces = _crops(model, job, source)
                parts.append(opening)
        total = (perf_counter() - start) * 1e3
        row = _figures(turns, total, (times[0] - start) * 1e3, count)
        spent = sum(sum(turn["image_tokens"]) for turn in turns)
        full = _patches(model, source).grid.tokens
        return {**row, "cpu_ms": (process_time() - cpu) * 1e3, "rtr": spent / full}

    return ask


def _crops(
    model: Model, job: Job, source: Image.Image
) -> tuple[tuple[int, ...], list[tuple[Image.Image, tuple[int, ...]]]]:
    """The text before the crops, and each crop with the text behind it."""
    boxes = [model.protocol.crop(crop_id, source.size).box for crop_id in job.crops]
    crops = [source.crop(box) for box in boxes]
    opening, *behind = model.prompt.reply([crop.size for crop in crops])
    return opening, list(zip(crops, behind, strict=True))


def _patched(model: Model, pieces: list[tuple[Image.Image, tuple[int, ...]]]) -> list[Part]:
    return [part for image, text in pieces for part in (_patches(model, image), text)]


def _patches(model: Model, image: Image.Image) -> Patches:
    protocol = model.protocol
    return extract_patches(
        image,
        model.preprocessing,
        min_pixels=protocol.min_pixels,
        max_pixels=protocol.max_pixels,
    )


def _turn(
    parts: list[Part], new: list[Part], count: int, times: tuple[float, float, float, float]
) -> dict[str, Any]:
    began, ready, first, end = times
    cells = sum(len(p) if isinstance(p, tuple) else p.grid.tokens for p in parts)
    return {
        # `generate` does not tell the vision tower from the prompt.
        "ms": {
            "preprocess": (ready - began) * 1e3,
            "vision and prefill": (first - ready) * 1e3,
            "decode": (end - first) * 1e3,
        },
        "reused_tokens": 0,
        "prefill_tokens": cells,
        "decode_tokens": count,
        "discarded_tokens": 0,
        "steps": count - 1,
        "image_tokens": [part.grid.tokens for part in new if not isinstance(part, tuple)],
    }


def _figures(
    turns: list[dict[str, Any]], total: float, first_text: float, count: int
) -> dict[str, Any]:
    opening, last = turns[0]["ms"], turns[-1]["ms"]
    tpot = last["decode"] / (count - 1) if count > 1 else None
    return {
        "total_ms": total,
        "first_token_ms": opening["preprocess"] + opening["vision and prefill"],
        "ttft_ms": first_text,
        "tpot_ms": tpot,
        "tokens_per_s": 1e3 / tpot if tpot else None,
        "reused_tokens": 0,
        "prefill_tokens": sum(turn["prefill_tokens"] for turn in turns),
        "turns": turns,
    }
