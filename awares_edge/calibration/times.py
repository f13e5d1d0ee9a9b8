"""How long each matrix of a model takes on this machine, in each format, in a two-turn question.

The question is that of `awares-edge profile`: a noise picture, a scripted call of two crops, a
scripted answer. It is asked to a bundle: that shows how many rows each product has, and what
remains of the question's time without its products. Each product is then measured alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from statistics import median
from typing import Any, TypeAlias

import numpy as np

from awares_edge.api import load
from awares_edge.bundle.store import Bundle
from awares_edge.calibration.products import Shape, time_products
from awares_edge.calibration.sensitivity import last_layer
from awares_edge.checkpoint.names import EMBEDDING, HEAD, expected_shapes
from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.errors import InputError
from awares_edge.evaluation.machine import describe_machine
from awares_edge.evaluation.profile.job import Job, Variant
from awares_edge.evaluation.profile.measure import ask_once
from awares_edge.evaluation.profile.workload import (
    Steer,
    noise_picture,
    scripted_replies,
    shuffled_question,
)
from awares_edge.evaluation.watch import WatchedSession, watch
from awares_edge.export.onnx.precisions import Formats
from awares_edge.export.times import TIMED_BLOCK, MatrixTime, Times, timed_shapes
from awares_edge.runtimes.base import Logits
from awares_edge.runtimes.threads import choose_threads
from awares_edge.spec import GRAPH_SUFFIX, ModelSpec

SIDE, CROPS, ANSWER_TOKENS = 896, ("0", "3"), 16
"""The question that `awares-edge profile` asks where nothing else is said."""
QUESTIONS = 7
_FORMATS = ("fp16", "int8", "int4")
Counts: TypeAlias = Counter[int]
"""How many products have so many rows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows the products of a question have.

    Attributes:
        patches, image_tokens: of the vision tower and of its merger.
        tokens: of the language model.
        logits: behind its last attention, where only tokens that get logits are computed.
    """

    patches: Counts = field(default_factory=Counter)
    image_tokens: Counts = field(default_factory=Counter)
    tokens: Counts = field(default_factory=Counter)
    logits: Counts = field(default_factory=Counter)

    def of(self, name: str, spec: ModelSpec) -> Counts:
        """Of the products with one matrix, by its name."""
        if name.startswith("visual.merger."):
            return self.image_tokens
        if name.startswith("visual."):
            return self.patches
        return self.logits if name.startswith((EMBEDDING, HEAD, *last_layer(spec))) else self.tokens


def measure_times(
    bundle: Bundle,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Times:
    """Ask a bundle two-turn questions, and measure the products of its model in each format.

    Args:
        bundle: of the runtime `onnx`, each matrix in one format.
        threads: CPU threads; None for one a core. With one, times are CPU times: see `typical_ms`.
        progress: called with (kinds of matrices done, all).

    Raises:
        BundleError: onnxruntime cannot load or compute it.
        InputError: it is a bundle of another runtime, stores a matrix in a format that is not
            timed, or its protocol has no set of crops; or other programs disturbed the measurement.
    """
    import onnxruntime

    threads, spec = choose_threads(threads), bundle.manifest.model
    stored = stored_formats(bundle)
    question_ms, rows = ask_questions(bundle, threads, QUESTIONS)
    matrices = _measure(spec, rows, threads, progress)
    rest_ms = question_ms - sum(matrices[name].ms(kind) for name, kind in stored.items())
    if rest_ms < 0:
        raise InputError(
            "the products of a question take longer alone than the whole question: other programs "
            "disturbed the measurement, measure again"
        )
    return Times.of(
        cpu=str(describe_machine()["cpu"])[:256],
        threads=threads,
        onnxruntime=onnxruntime.__version__,
        precision=bundle.manifest.precision,
        question_ms=question_ms,
        rest_ms=rest_ms,
        matrices=matrices,
    )


def stored_formats(bundle: Bundle) -> dict[str, str]:
    """Format of each matrix that a mix chooses a format for, as the bundle's graphs have it.

    Raises:
        InputError: as `measure_times`.
    """
    import onnx

    if bundle.manifest.runtime != "onnx":
        raise InputError(
            f"{bundle.root} is a bundle for the runtime {bundle.manifest.runtime}: export the "
            "checkpoint to onnx, at int8"
        )
    shapes = timed_shapes(bundle.manifest.model)
    found: dict[str, str] = {}
    for name in ("vision", "text"):
        model = onnx.load(bundle.path(f"{name}{GRAPH_SUFFIX}"), load_external_data=False)
        for tensor in model.graph.initializer:
            matrix, _, kind = tensor.name.partition(":")
            if matrix not in shapes or kind.endswith(".scale"):
                continue
            kind = kind.partition(".")[0] or "fp16"
            if kind not in _FORMATS or matrix in found:
                raise _unusable(bundle)
            found[matrix] = kind
    if found.keys() != shapes.keys():
        raise _unusable(bundle)
    return found


def _unusable(bundle: Bundle) -> InputError:
    return InputError(
        f"{bundle.root} has precision {bundle.manifest.precision}: give a bundle of the same "
        "checkpoint at int8 or fp16"
    )


def ask_questions(bundle: Bundle, threads: int, questions: int) -> tuple[float, Rows]:
    """Median milliseconds of a two-turn question, and the rows of its products.

    Args:
        questions: that count, after one that warms up.
    """
    with load(bundle.root, device="cpu", threads=threads, verify=False) as model:
        rows = Rows()
        steer = Steer(model, scripted_replies(model, _job(bundle)))

        def observe(session: WatchedSession, logits: Logits) -> Logits:
            rows.tokens[session.appended] += 1
            rows.logits[len(logits)] += 1
            return steer(session, logits)

        watched, runtime = watch(model, observe)
        times = []
        rng = np.random.default_rng(0)
        with watched:
            for _ in range(1 + questions):
                # Of the last question alone: the first one also computes the system prompt.
                for counts in (rows.tokens, rows.logits):
                    counts.clear()
                runtime.encoded.clear()
                times.append(_ask(watched, rng, steer, threads))
        for image, patches in runtime.encoded:
            rows.patches[len(patches.pixels)] += 1
            rows.image_tokens[image.grid.tokens] += 1
        return median(times[1:]), rows


def _job(bundle: Bundle) -> Job:
    variant = Variant(str(bundle.root), "awares")
    return Job(variant, SIDE, CROPS, ANSWER_TOKENS, free=False, warmup=0, iterations=0, seed=0)


def _ask(model: Model, rng: np.random.Generator, steer: Steer, threads: int) -> float:
    """Milliseconds of one question about a new picture."""
    with model.open(noise_picture(rng, SIDE)) as picture:
        row = ask_once(picture, shuffled_question(rng), AskOptions(max_new_tokens=64), steer)
    return float(row["cpu_ms" if threads == 1 else "total_ms"])


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the time of a product depends on, beside format and rows: matrices of one kind are
    measured once."""

    shape: Shape
    bias: bool
    vision: bool

    @classmethod
    def all(cls, spec: ModelSpec) -> dict[str, _Kind]:
        """Of each matrix, by its name."""
        tensors = expected_shapes(spec)
        return {
            name: cls(
                shape,
                name.partition("+")[0].removesuffix("weight") + "bias" in tensors,
                name.startswith("visual."),
            )
            for name, shape in timed_shapes(spec).items()
        }


def _measure(
    spec: ModelSpec,
    rows: Rows,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, MatrixTime]:
    """The time of each matrix in a question."""
    kinds = _Kind.all(spec)
    towers: Counter[bool] = Counter()
    counts: dict[_Kind, set[int]] = defaultdict(set)
    for name, kind in kinds.items():
        towers[kind.vision] += prod(kind.shape)
        counts[kind] |= rows.of(name, spec).keys()
    formats = Formats("mixed", block=TIMED_BLOCK, depth=spec.vision.depth)
    found: dict[_Kind, dict[str, dict[int, float]]] = {}
    for done, kind in enumerate(counts, 1):
        how: dict[str, Any] = {"bias": kind.bias, "numbers": towers[kind.vision]}
        found[kind] = {
            name: time_products(format, kind.shape, sorted(counts[kind]), threads=threads, **how)
            for name, format in formats.options("", kind.shape).items()
        }
        if progress:
            progress(done, len(counts))
    return {
        name: MatrixTime(
            kind.shape,
            **{
                format: sum(ms[count] * times for count, times in rows.of(name, spec).items())
                for format, ms in found[kind].items()
            },
        )
        for name, kind in kinds.items()
    }
