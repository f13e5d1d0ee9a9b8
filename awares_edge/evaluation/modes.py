"""Ways to ask a question: the model's own, baselines, and controls.

``awares`` (the model decides), ``full`` and ``low`` (baselines that never zoom), ``always-full``
(the model decides when, and is shown the whole picture, as in VisionThink), ``random-crop`` (the
model decides when; the crop is random) and ``oracle-crop`` (known evidence decides both).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from awares_edge.controller.options import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.controller.trace import Answer
from awares_edge.errors import InputError
from awares_edge.synth.oracle import QUARTERS

EvalMode: TypeAlias = Literal["awares", "full", "low", "always-full", "random-crop", "oracle-crop"]
MODES: tuple[EvalMode, ...] = get_args(EvalMode)


def get_mode(name: str) -> EvalMode:
    """The mode of this name.

    Raises:
        InputError: there is none.
    """
    for mode in MODES:
        if mode == name:
            return mode
    raise InputError(f"no mode {name!r}: choose one of {', '.join(MODES)}")


def ask(
    picture: Picture,
    prompt: str,
    mode: EvalMode,
    *,
    max_new_tokens: int,
    rng: np.random.Generator,
    evidence: tuple[str, ...] | None = None,
) -> Answer:
    """Ask one question in a mode.

    Args:
        rng: chooses the crop of ``random-crop``; used once for each call that the model makes.
        evidence: ids of the crops that hold the answer, for ``oracle-crop``; () where the
            low-res view is enough.

    Raises:
        InputError: ``oracle-crop`` without known evidence.
        ImageError, QuestionError, ContextOverflow: as `Picture.ask`.
    """
    options = AskOptions(max_new_tokens=max_new_tokens)
    if mode in ("awares", "full", "low"):
        return picture.ask(prompt, replace(options, mode=mode))
    if mode == "oracle-crop":
        if evidence is None:
            raise InputError("mode 'oracle-crop' needs to know which crops hold the answer")
        if not evidence:
            return picture.ask(prompt, replace(options, mode="low"))
        return picture.ask(prompt, replace(options, crops=evidence))
    own = picture.ask(prompt, options)
    if not own.crops:
        return own
    crops = ("all",) if mode == "always-full" else (str(rng.choice(QUARTERS)),)
    return _decided(own, picture.ask(prompt, replace(options, crops=crops)))


def _decided(own: Answer, given: Answer) -> Answer:
    """The answer from ``given`` crops as if the first turn of ``own`` had called for them."""
    turns = (own.turns[0], *given.turns[1:])
    repeated, deciding = (sum(answer.turns[0].ms.values()) for answer in (given, own))
    return replace(
        given,
        turns=turns,
        total_ms=given.total_ms - repeated + deciding,
        call_status=own.call_status,
        call_text=own.call_text,
    )
