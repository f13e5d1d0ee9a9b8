"""Ways to ask a question: the model's own, baselines, and controls.

``awares`` (the model decides), ``full`` and ``low`` (baselines that never zoom), ``always-full``
(the model decides when, and is shown the whole picture, as in VisionThink), ``random-crop`` (the
model decides when; the crop is random) and ``oracle-crop`` (known evidence decides both).
``progressive`` allows calls inside crops. ``prune:R`` shows the whole picture at once, of whose
visual tokens the share R is kept (as VisionZip does; only with the torch runtime).
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast, get_args

import numpy as np

from awares_edge.controller.askable import Askable, OpenPicture
from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import Answer, Mode
from awares_edge.errors import InputError
from awares_edge.synth.oracle import QUARTERS

MODES = ("awares", "full", "low", "always-full", "random-crop", "oracle-crop")
EXTRA_MODES = ("progressive", "prune:R")
"""Modes that are measured only when named."""
_PRUNE = "prune:"


def get_mode(name: str) -> str:
    """The mode of this name; R of "prune:R" is a share above 0 and at most 1.

    Raises:
        InputError: there is no such mode.
    """
    if name in (*MODES, "progressive") or _kept_share(name) is not None:
        return name
    known = ", ".join((*MODES, *EXTRA_MODES))
    raise InputError(f"no mode {name!r}: choose from {known} (R above 0 and at most 1)")


def in_mode(model: Askable, mode: str) -> Askable:
    """The model to ask in a mode: itself, or for ``prune:R`` the same with pruned pictures.

    The second shares the first one's weights: close only the first.

    Raises:
        InputError: its runtime cannot prune, or it is behind an endpoint.
    """
    share = _kept_share(mode)
    if share is None:
        return model
    if not isinstance(model, Model):
        raise InputError(f"mode {mode!r} needs a model on this machine, not one behind an endpoint")
    runtime = model.runtime.pruned(share)
    return Model(
        runtime,
        model.tokenizer,
        model.special,
        model.protocol,
        model.preprocessing,
        model.calibration,
    )


def _kept_share(mode: str) -> float | None:
    """R of "prune:R"; None for other texts."""
    if not mode.startswith(_PRUNE):
        return None
    try:
        share = float(mode.removeprefix(_PRUNE))
    except ValueError:
        return None
    return share if 0 < share <= 1 else None


def ask(
    picture: OpenPicture,
    prompt: str,
    mode: str,
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
    if mode.startswith(_PRUNE):  # `picture` is of a model that `in_mode` made
        mode = "full"
    if mode in get_args(Mode):
        return picture.ask(prompt, replace(options, mode=cast(Mode, mode)))
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
