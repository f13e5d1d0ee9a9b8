"""Asks a model on a server and notes what each question cost, as far as a client can see it.

Times of questions and turns are measured here; tokens, and times of phases, are what the server
reports. What is neither seen nor reported is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from awares_edge.controller.askable import Askable
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import COUNTS, PHASES
from awares_edge.evaluation.machine import load_average
from awares_edge.evaluation.profile.asking import Ask, Followed, Progress, Row, follow, sustain
from awares_edge.evaluation.profile.job import Job
from awares_edge.evaluation.profile.sensors import Heat
from awares_edge.evaluation.profile.workload import (
    ANSWER,
    called_crops,
    calls,
    noise_picture,
    shuffled_question,
)
from awares_edge.remote.connecting import connect
from awares_edge.remote.model import RemoteModel
from awares_edge.remote.scripted import Scripted, ScriptedLink
from awares_edge.remote.servers import OWN

_CALL_TOKENS = 10
"""About the length of `GET_CROPS: ['0', '3']` under Qwen2.5-VL's tokenizer."""
_FEWEST_TEXTS = 3
_UNKNOWN_HEAT = Heat(None, None, None)


def measure_endpoint(job: Job, progress: Progress) -> dict[str, Any]:
    """Drop the first questions, keep the others; what the server's machine spends is not known.

    Returns:
        as `measure`, and "server": what it is; "reported": phases whose time is what it reports.

    Raises:
        AwaresError: as `connect` and `Askable.ask`.
    """
    # Not the job's seed: a server may keep pictures of an earlier run.
    rng, variant = np.random.default_rng(), job.variant
    with connect(variant.path, model=variant.model, protocol=variant.protocol) as model:
        ask = _asker(model, job)
        for _ in range(job.warmup):
            ask(rng)
        rows = []
        for done in range(job.iterations):
            rows.append(ask(rng))
            progress(done + 1, job.iterations)
        sustained = sustain(job.sustained_s, lambda: ask(rng), lambda: _UNKNOWN_HEAT)
    about = model.about
    return {
        "job": job.to_dict(),
        "runtime": about.runtime,
        "precision": about.precision,
        "device": about.device,
        "protocol": model.protocol.name,
        "server": about.server,
        "reported": _reported(rows, own=about.server == OWN),
        "load_ms": None,
        "memory": dict.fromkeys(("peak", "resident", "anonymous", "loaded")),
        "energy": {"source": None, "reason": "a server's energy is not measured"},
        "load_average": load_average(),
        "rows": rows,
        "sustained": sustained,
    }


def _asker(model: RemoteModel, job: Job) -> Ask:
    """Something that asks one new question about one new picture."""
    asked, options = (model, _options(job, 64)) if job.free else _scripted(model, job)

    def ask(rng: np.random.Generator) -> Row:
        with asked.open(noise_picture(rng, job.side)) as picture:
            if job.variant.mode == "again":
                picture.ask(shuffled_question(rng), options)
            return _row(follow(picture, shuffled_question(rng), options))

    return ask


def _scripted(model: RemoteModel, job: Job) -> tuple[Askable, AskOptions]:
    """What to ask, and how, so that calls are those of the job.

    Our own server is given the crops with the question; its answer is the model's own. For others
    the loop runs here, and reads scripted replies.

    Raises:
        InputError: the protocol does not offer one of the job's crops, or has no crop set.
    """
    texts = calls(model.protocol, job)
    if model.about.server == OWN:
        return model, _options(job, crops=called_crops(job))
    answer = Scripted(ANSWER.strip(), job.answer_tokens)
    replies = [*(Scripted(text, _CALL_TOKENS) for text in texts), answer]
    return model.through(lambda link: ScriptedLink(link, replies)), _options(job)


def _options(job: Job, least: int = 1, crops: tuple[str, ...] = ()) -> AskOptions:
    mode = job.variant.mode
    return AskOptions(
        mode="full" if mode == "full" else "low" if mode == "low" else "awares",
        max_new_tokens=max(job.answer_tokens, least),
        crops=crops,
    )


def _row(found: Followed) -> Row:
    """One question: what each turn cost, and its figures."""
    turns: list[Row] = [
        {
            "seen_ms": seen,
            "ms": {phase: trace.spent(phase) for phase in PHASES},
            **{name: trace.count(name) for name in COUNTS},
            "image_tokens": tokens,
        }
        for trace, seen, tokens in zip(
            found.answer.turns, found.turn_ms(), found.image_tokens, strict=True
        )
    ]
    tpot = _tpot(found, turns[-1])
    return {
        "total_ms": found.total_ms,
        # A client sees no token of a call.
        "first_token_ms": None,
        "ttft_ms": found.total_ms if found.first_text_ms is None else found.first_text_ms,
        "tpot_ms": tpot,
        "tokens_per_s": 1e3 / tpot if tpot else None,
        "reused_tokens": _sum(turn["reused_tokens"] for turn in turns),
        "prefill_tokens": _sum(turn["prefill_tokens"] for turn in turns),
        "cpu_ms": None,
        "rtr": found.answer.rtr,
        "turns": turns,
    }


def _tpot(found: Followed, last: Row) -> float | None:
    """Milliseconds of each further token of the answer; None where they are not known.

    From the server's time of decoding where it reports it. Else as vLLM's benchmark counts: the
    time behind the first text, over the tokens behind the first one.
    """
    steps = (last["decode_tokens"] or 0) - 1
    if steps < 1:
        return None
    if (reported := last["ms"]["decode"]) is not None:
        return float(reported) / steps
    # A reply that comes whole is passed on in one or two pieces, and tells nothing.
    if found.first_text_ms is None or found.texts < _FEWEST_TEXTS:
        return None
    return (found.total_ms - found.first_text_ms) / steps


def _reported(rows: Sequence[Row], *, own: bool) -> list[str]:
    """Phases whose time is the server's. For servers other than our own, pictures are cut and
    resized here."""
    turns = [turn for row in rows for turn in row["turns"]]
    phases = [phase for phase in PHASES if own or phase != "preprocess"]
    return [p for p in phases if any(turn["ms"][p] is not None for turn in turns)]


def _sum(counts: Iterable[int | None]) -> int | None:
    """Of what every turn reports; None where one does not."""
    known = list(counts)
    return None if None in known else sum(filter(None, known))
