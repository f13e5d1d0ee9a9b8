"""Asks a model on this machine and notes what each question cost; runs in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from awares_edge.api import load
from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.evaluation.machine import SYSTEM, load_average
from awares_edge.evaluation.profile.asking import Ask, Progress, Row, follow, sustain
from awares_edge.evaluation.profile.job import Job, Variant
from awares_edge.evaluation.profile.sensors import find_meter, read_heat, read_memory
from awares_edge.evaluation.profile.workload import (
    Steer,
    noise_picture,
    scripted_replies,
    shuffled_question,
)
from awares_edge.evaluation.watch import watch


def measure(job: Job, progress: Progress, root: Path = SYSTEM) -> dict[str, Any]:
    """Load the variant, drop the first questions, keep the others.

    Returns:
        what the process measured: load time, memory, energy, and one row a question.

    Raises:
        AwaresError: as `load` and `Model.ask`.
    """
    rng = np.random.default_rng(job.seed)
    start = perf_counter()
    with _load(job.variant) as model:
        load_ms = (perf_counter() - start) * 1e3
        loaded = read_memory(root)
        with _asker(model, job) as ask:
            for _ in range(job.warmup):
                ask(rng)
            rows, energy = _kept(job, rng, ask, progress, root)
            sustained = sustain(job.sustained_s, lambda: ask(rng), lambda: read_heat(root))
        memory = read_memory(root)
        anonymous = [row["anonymous"] for row in rows if row["anonymous"] is not None]
        return {
            "job": job.to_dict(),
            "runtime": model.runtime.name,
            "precision": model.runtime.precision,
            "device": model.runtime.device,
            "protocol": model.protocol.name,
            "load_ms": load_ms,
            "memory": {
                "peak": memory.peak,
                "resident": memory.resident,
                "anonymous": max(anonymous, default=None),
                "loaded": loaded.resident,
            },
            "energy": energy,
            "load_average": load_average(),
            "rows": rows,
            "sustained": sustained,
        }


def _load(variant: Variant) -> Model:
    model = load(
        variant.path,
        runtime=variant.runtime,
        protocol=variant.protocol,
        device=variant.device,
        threads=variant.threads,
        dtype=variant.dtype,
        verify=False,
    )
    if variant.max_pixels is None:
        return model
    limit = variant.max_pixels
    source = replace(model.protocol.source, max_pixels=limit)
    protocol = replace(model.protocol, max_pixels=limit, source=source)
    return Model(model.runtime, model.tokenizer, model.special, protocol, model.preprocessing)


def _kept(
    job: Job, rng: np.random.Generator, ask: Ask, progress: Progress, root: Path
) -> tuple[list[Row], dict[str, Any]]:
    """The rows that count, and the energy that they took together."""
    meter, reason = find_meter(root)
    rows = []
    if meter:
        meter.start()
    for done in range(job.iterations):
        rows.append({**ask(rng), "anonymous": read_memory(root).anonymous})
        progress(done + 1, job.iterations)
    if meter is None:
        return rows, {"source": None, "reason": reason}
    joules = meter.stop()
    return rows, {"source": meter.source, "joules": joules, "per_question": joules / len(rows)}


@contextmanager
def _asker(model: Model, job: Job) -> Iterator[Ask]:
    """Something that asks one new question about one new picture."""
    if job.variant.mode == "reference":
        from awares_edge.evaluation.profile.reference import reference_asker

        yield reference_asker(model, job)
        return
    replies = None if job.free else scripted_replies(model, job)
    steer = Steer(model, replies)
    watched, _ = watch(model, steer)
    mode = job.variant.mode
    options = AskOptions(
        mode="full" if mode == "full" else "low" if mode == "low" else "awares",
        max_new_tokens=max(job.answer_tokens, 64),
    )

    def ask(rng: np.random.Generator) -> Row:
        image = noise_picture(rng, job.side)
        with watched.open(image) as picture:
            if mode == "again":
                picture.ask(shuffled_question(rng), options)
            return ask_once(picture, shuffled_question(rng), options, steer)

    try:
        yield ask
    finally:
        watched.close()


def ask_once(picture: Picture, question: str, options: AskOptions, steer: Steer) -> Row:
    """One question: what each turn cost, and its figures."""
    found = follow(picture, question, options, lambda: steer.passes)
    turns = [
        {
            "ms": dict(trace.ms),
            "reused_tokens": trace.reused_tokens,
            "prefill_tokens": trace.prefill_tokens,
            "decode_tokens": trace.decode_tokens,
            "discarded_tokens": trace.discarded_tokens,
            # One of a turn's forward passes is its prompt.
            "steps": 0 if passes is None else passes - 1,
            "image_tokens": tokens,
        }
        for trace, passes, tokens in zip(
            found.answer.turns, found.counted(), found.image_tokens, strict=True
        )
    ]
    return {
        **figures(turns, found.total_ms, found.first_text_ms),
        "cpu_ms": found.cpu_ms,
        "rtr": found.answer.rtr,
        "turns": turns,
    }


def figures(turns: list[Row], total: float, first_text: float | None) -> Row:
    """The figures that people compare, of one question.

    Args:
        turns: what each turn cost.
        total: milliseconds of the question.
        first_text: milliseconds until the answer's first text; None where it came all at once.
    """
    opening, last = turns[0]["ms"], turns[-1]
    steps = last["steps"]
    tpot = last["ms"]["decode"] / steps if steps > 0 else None
    return {
        "total_ms": total,
        "first_token_ms": opening["preprocess"] + opening["vision"] + opening["prefill"],
        "ttft_ms": total if first_text is None else first_text,
        "tpot_ms": tpot,
        "tokens_per_s": 1e3 / tpot if tpot else None,
        "reused_tokens": sum(turn["reused_tokens"] for turn in turns),
        "prefill_tokens": sum(turn["prefill_tokens"] for turn in turns),
    }
