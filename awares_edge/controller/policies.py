"""What to do where the protocol leaves a choice: named, set by the caller, shown in the trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from awares_edge.errors import InputError
from awares_edge.protocol.regions import Region

InvalidCallPolicy: TypeAlias = Literal["protocol", "answer-low", "whole-image"]
TooManyPolicy: TypeAlias = Literal["keep-first", "whole-image", "answer-low"]

INVALID_CALL = "invalid-call"
ALREADY_SHOWN = "already-shown"
MUST_CALL = "must-call"
HISTORY = "history"
TOO_MANY_CROPS = "too-many-crops"
TOKEN_BUDGET = "token-budget"
CONTEXT_OVERFLOW = "context-overflow"
SMALL_IMAGE = "small-image"
NARROW_VIEW = "narrow-view"
NARROW_CROP = "narrow-crop"
CALL_BARRED = "call-barred"
FORCED_CROPS = "forced-crops"
ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True)
class Policies:
    """Named answers to the protocol's open questions.

    Attributes:
        invalid_call: a reply that is neither an answer nor a call that can be followed: do as the
            protocol does (AwaRes answers from the low-res view; protocols with an error message
            send it), answer from what was shown, or send the whole picture (as AwaRes' released
            evaluator does).
        max_crops: most crops of one call; None for no limit.
        too_many_crops: what becomes of a call for more.
        max_rtr: most visual tokens of an answer, as a share of the whole picture's at full
            resolution; crops that exceed it are left out, last first. None for no limit.
        abstain_below: an answer with a lower confidence becomes "unsure" (`Answer.withheld` keeps
            it), and a stream shows no text before it is known. None to give every answer.
    """

    invalid_call: InvalidCallPolicy = "protocol"
    max_crops: int | None = None
    too_many_crops: TooManyPolicy = "keep-first"
    max_rtr: float | None = None
    abstain_below: float | None = None

    def __post_init__(self) -> None:
        _check_choice("invalid_call", self.invalid_call, InvalidCallPolicy)
        _check_choice("too_many_crops", self.too_many_crops, TooManyPolicy)
        count, share = self.max_crops, self.max_rtr
        if count is not None and (type(count) is not int or count < 1):
            raise InputError("max_crops must be an integer of at least 1; mode 'low' never zooms")
        if share is not None and not (_is_number(share) and 0 < share < math.inf):
            raise InputError("max_rtr must be a finite number above 0")
        least = self.abstain_below
        if least is not None and not (_is_number(least) and 0 <= least <= 1):
            raise InputError("abstain_below must be between 0 and 1")


def _check_choice(name: str, value: object, choices: Any) -> None:
    if value not in get_args(choices):
        raise InputError(f"{name} must be {' or '.join(get_args(choices))}, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Selection:
    """Crops to send after all policies.

    Attributes:
        crops: in order; empty means: answer from what was shown.
        applied: policies that changed something, as "name:outcome".
    """

    crops: tuple[Region, ...]
    applied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """What a call's regions may cost.

    Attributes:
        budget: visual tokens that may still be spent.
        cells: KV cells that are free; infinite where that is not known.
        cells_of: KV cells that a turn with these regions takes, its text included.
    """

    budget: float
    cells: float
    cells_of: Callable[[Sequence[Region]], int]


def select_crops(
    asked: Sequence[Region],
    policies: Policies,
    *,
    whole: Region,
    fits: Callable[[Region], bool],
    tokens_of: Callable[[Region], int],
    room: Room,
) -> Selection:
    """Apply the policies to a call.

    Args:
        asked: what the call names; empty for an invalid one.
        whole: the whole picture.
        fits: whether the vision tower takes a crop of this shape.
        tokens_of: visual tokens of one crop.
        room: what the crops may cost.
    """
    chosen, applied = list(asked), []
    if not chosen:
        send_whole = policies.invalid_call == "whole-image"
        applied.append(f"{INVALID_CALL}:{'whole-image' if send_whole else 'answer-low'}")
        chosen = [whole] if send_whole else []
    if policies.max_crops is not None and len(chosen) > policies.max_crops:
        applied.append(f"{TOO_MANY_CROPS}:{policies.too_many_crops}")
        chosen = {
            "keep-first": chosen[: policies.max_crops],
            "whole-image": [whole],
            "answer-low": [],
        }[policies.too_many_crops]
    if not all(map(fits, chosen)):
        applied.append(f"{NARROW_CROP}:whole-image")
        chosen = [whole]
    chosen, dropped = _drop_last(chosen, lambda kept: sum(map(tokens_of, kept)) <= room.budget)
    applied += _outcome(TOKEN_BUDGET, chosen, dropped)
    chosen, dropped = _drop_last(chosen, lambda kept: room.cells_of(kept) <= room.cells)
    applied += _outcome(CONTEXT_OVERFLOW, chosen, dropped)
    return Selection(tuple(chosen), tuple(applied))


def _drop_last(
    crops: list[Region], fits: Callable[[Sequence[Region]], bool]
) -> tuple[list[Region], list[Region]]:
    kept = list(crops)
    while kept and not fits(kept):
        kept.pop()
    return kept, crops[len(kept) :]


def _outcome(policy: str, kept: list[Region], dropped: list[Region]) -> list[str]:
    if not dropped:
        return []
    names = ",".join(crop.id or crop.name for crop in dropped)
    return [f"{policy}:dropped {names}" if kept else f"{policy}:answer-low"]
