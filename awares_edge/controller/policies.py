"""What to do where the protocol leaves a choice: named, set by the caller, shown in the trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from awares_edge.errors import InputError
from awares_edge.protocol.crops import WHOLE

InvalidCallPolicy: TypeAlias = Literal["answer-low", "whole-image"]
TooManyPolicy: TypeAlias = Literal["keep-first", "whole-image", "answer-low"]

INVALID_CALL = "invalid-call"
TOO_MANY_CROPS = "too-many-crops"
TOKEN_BUDGET = "token-budget"
CONTEXT_OVERFLOW = "context-overflow"
SMALL_IMAGE = "small-image"
CALL_BARRED = "call-barred"
FORCED_CROPS = "forced-crops"


@dataclass(frozen=True, slots=True)
class Policies:
    """Named answers to the protocol's open questions.

    Attributes:
        invalid_call: a call that names no crop: answer from the low-res view, or send the whole
            picture (as the released evaluator does).
        max_crops: most crops of one call; None for no limit.
        too_many_crops: what becomes of a call for more.
        max_rtr: most visual tokens of an answer, as a share of the whole picture's at full
            resolution; crops that exceed it are left out, last first. None for no limit.
    """

    invalid_call: InvalidCallPolicy = "answer-low"
    max_crops: int | None = None
    too_many_crops: TooManyPolicy = "keep-first"
    max_rtr: float | None = None

    def __post_init__(self) -> None:
        if self.max_crops is not None and self.max_crops < 1:
            raise InputError("max_crops must be at least 1; use mode 'low' to never zoom")
        if self.max_rtr is not None and not self.max_rtr > 0:
            raise InputError("max_rtr must be above 0")


@dataclass(frozen=True, slots=True)
class Selection:
    """Crops to send after all policies.

    Attributes:
        ids: crop ids in order; empty means: answer from the low-res view.
        applied: policies that changed something, as "name:outcome".
    """

    ids: tuple[str, ...]
    applied: tuple[str, ...]


def select_crops(
    ids: Sequence[str],
    policies: Policies,
    *,
    low_tokens: int,
    full_tokens: int,
    tokens_of: Callable[[str], int],
    cells_of: Callable[[Sequence[str]], int],
    room: int,
) -> Selection:
    """Apply the policies to a call for `ids` (empty for a call that names none).

    Args:
        low_tokens, full_tokens: visual tokens already spent, and of the whole picture.
        tokens_of: visual tokens of one crop.
        cells_of: KV cells that the turn with these crops takes, its text included.
        room: KV cells that are free.
    """
    chosen, applied = list(ids), []
    if not chosen:
        applied.append(f"{INVALID_CALL}:{policies.invalid_call}")
        chosen = [WHOLE] if policies.invalid_call == "whole-image" else []
    if policies.max_crops is not None and len(chosen) > policies.max_crops:
        applied.append(f"{TOO_MANY_CROPS}:{policies.too_many_crops}")
        chosen = {
            "keep-first": chosen[: policies.max_crops],
            "whole-image": [WHOLE],
            "answer-low": [],
        }[policies.too_many_crops]
    if policies.max_rtr is not None:
        budget = policies.max_rtr * full_tokens - low_tokens
        chosen, dropped = _drop_last(chosen, lambda kept: sum(map(tokens_of, kept)) <= budget)
        applied += _outcome(TOKEN_BUDGET, chosen, dropped)
    chosen, dropped = _drop_last(chosen, lambda kept: cells_of(kept) <= room)
    applied += _outcome(CONTEXT_OVERFLOW, chosen, dropped)
    return Selection(tuple(chosen), tuple(applied))


def _drop_last(
    ids: list[str], fits: Callable[[Sequence[str]], bool]
) -> tuple[list[str], list[str]]:
    kept = list(ids)
    while kept and not fits(kept):
        kept.pop()
    return kept, ids[len(kept) :]


def _outcome(policy: str, kept: list[str], dropped: list[str]) -> list[str]:
    if not dropped:
        return []
    return [f"{policy}:dropped {','.join(dropped)}" if kept else f"{policy}:answer-low"]
