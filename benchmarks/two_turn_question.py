"""The questions that `two_turn.py` times: one picture of 896x896, two turns, two crops."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

# A picture of 896x896: its low-res view and each quadrant have 256 visual tokens.
VIEW_PIXELS, CROPS = 448, 2
SYSTEM, OPENING, QUESTION, BETWEEN = 150, 4, 24, 6
CALL, ANSWER = 12, 8
# The call's steps under its grammar: one for each choice, fixed text in between drafted.
CALL_STEPS = (1, 7, 3, 1)

REFERENCE = "reference"
ONNX = ("fp32", "int8", "int8+int4", "int4", "w8a8")
VARIANTS = (REFERENCE, "append", *ONNX, "q8_0")

Question = Callable[[], dict[str, Any]]


class Clock:
    """Milliseconds of CPU time by stage."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + (time.process_time() - start) * 1e3


def pictures() -> list[Any]:
    """The low-res view and the crops, as patches."""
    from PIL import Image

    from awares_edge.vision import Preprocessing, extract_patches

    rng = np.random.default_rng(0)
    made = []
    for _ in range(1 + CROPS):
        pixels = rng.integers(0, 256, (VIEW_PIXELS, VIEW_PIXELS, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        made.append(extract_patches(image, Preprocessing(), min_pixels=3136, max_pixels=10**6))
    return made


def ids(start: int, count: int) -> tuple[int, ...]:
    return tuple(range(100 + start, 100 + start + count))


class KeptCache:
    """Questions over one kept cache, in a runtime of ours."""

    def __init__(self, runtime: Any, *, ours: bool) -> None:
        from awares_edge.runtimes.base import TextSegment

        self.runtime = runtime
        self.view, *self.crops = pictures()
        self.system = runtime.open_session()
        self.ours = ours
        if ours:
            self.system.prefill([TextSegment(ids(0, SYSTEM))])
        self.steps = CALL_STEPS if ours else (1,) * CALL

    def question(self) -> dict[str, float]:
        """A first question, and a later one that needs the same crops."""
        from awares_edge.runtimes.base import ImageSegment, TextSegment

        clock = Clock()
        with clock.stage("vision 1"):
            encoded = self.runtime.encode_image(self.view)
        with clock.stage("prefill 1"):
            session = self.system.fork()
            first = [TextSegment(ids(0, OPENING)), ImageSegment(encoded)]
            if not self.ours:
                first.insert(0, TextSegment(ids(0, SYSTEM)))
            seen = session.mark_after(first)
            session.prefill([*first, TextSegment(ids(9, QUESTION))])
        self._call(session, clock)
        features = []
        for crop in self.crops:
            with clock.stage("vision 2"):
                features.append(self.runtime.encode_image(crop))
        self._answer(session, features, clock)
        if not self.ours:
            session.close()
            return clock.ms
        later = Clock()
        with later.stage("prefill 1"):
            session.rewind(seen)
            session.prefill([TextSegment(ids(40, QUESTION))])
        self._call(session, later)
        self._answer(session, features, later)
        session.close()
        return {**clock.ms, "later question": sum(later.ms.values())}

    def _call(self, session: Any, clock: Clock) -> None:
        from awares_edge.runtimes.base import TextSegment

        with clock.stage("call"):
            for count in self.steps:
                session.prefill([TextSegment(ids(50, count))], keep_logits=count)

    def _answer(self, session: Any, features: list[Any], clock: Clock) -> None:
        from awares_edge.runtimes.base import ImageSegment, TextSegment

        segments: list[Any] = []
        for encoded in features:
            segments += [TextSegment(ids(20, BETWEEN)), ImageSegment(encoded)]
        with clock.stage("prefill 2"):
            session.prefill([*segments, TextSegment(ids(70, BETWEEN))])
        with clock.stage("answer"):
            for token in ids(80, ANSWER - 1):
                session.decode(token)


def by_generate(checkpoint: Path) -> Question:
    """The published way: everything anew for the second turn."""
    import torch

    from awares_edge.runtimes.torch_reference import TorchRuntime

    model = TorchRuntime.load(checkpoint).model
    view, *crops = pictures()
    pad = model.config.image_token_id

    def inputs(parts: list[Any]) -> dict[str, Any]:
        tokens: list[int] = []
        for part in parts:
            tokens += part if isinstance(part, tuple) else [pad] * part.grid.tokens
        images = [part for part in parts if not isinstance(part, tuple)]
        input_ids = torch.tensor([tokens])
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == pad).int(),
            "pixel_values": torch.from_numpy(np.concatenate([image.pixels for image in images])),
            "image_grid_thw": torch.tensor([[1, i.grid.height, i.grid.width] for i in images]),
        }

    first = [ids(0, SYSTEM), ids(0, OPENING), view, ids(9, QUESTION)]
    second = [*first, ids(50, CALL)]
    for crop in crops:
        second += [ids(20, BETWEEN), crop]
    second.append(ids(70, BETWEEN))

    def generate(parts: list[Any], count: int) -> None:
        with torch.inference_mode():
            model.generate(
                **inputs(parts), max_new_tokens=count, min_new_tokens=count, do_sample=False
            )

    def run() -> dict[str, float]:
        clock = Clock()
        with clock.stage("turn 1"):
            generate(first, CALL)
        with clock.stage("turn 2"):
            generate(second, ANSWER)
        return clock.ms

    return run


def open_variant(variant: str, work: Path, threads: int) -> Question:
    """A loaded model, and one question to it."""
    if variant == REFERENCE:
        return by_generate(work / "checkpoint")
    runtime: Any
    if variant == "append":
        from awares_edge.runtimes.torch_reference import TorchRuntime

        runtime = TorchRuntime.load(work / "checkpoint")
    else:
        from awares_edge.bundle import Bundle
        from awares_edge.runtimes.options import RuntimeOptions

        backend = import_module(f"awares_edge.runtimes.{'onnx' if variant in ONNX else 'llamacpp'}")
        options = RuntimeOptions(device="cpu", threads=threads, context=2048)
        runtime = backend.load(Bundle.open(work / variant, verify=False), options)
    return KeptCache(runtime, ours=variant != "append").question
