"""Distances between what two models computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from awares_edge.evaluation.parity.recording import Floats, Probe, Row, row_phases
from awares_edge.protocol.crops import Box

STAGES = ("pixels", "vision features", "first logits", "last logits")


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one row of logits is from the reference's.

    Attributes:
        difference: largest difference, as a share of the reference's standard deviation.
        kl: Kullback-Leibler divergence of the candidate from the reference, in nats.
        same: whether both prefer the same token.
        margin: where they do not, how far the reference's choice was ahead of the candidate's, as
            a share of the reference's standard deviation.
    """

    phase: str
    difference: float
    kl: float
    same: bool
    margin: float


def drifts(reference: Probe, candidate: Probe) -> list[Drift]:
    """Drift of every row that both computed after the same tokens."""
    count = _shared_rows(reference, candidate)
    phases = row_phases(reference.turns)
    rows = zip(reference.logits[:count], candidate.logits[:count], phases, strict=False)
    return [_drift(ours, theirs, phase) for ours, theirs, phase in rows]


def _drift(reference: Floats, candidate: Floats, phase: str) -> Drift:
    scale = max(float(reference.std()), 1e-12)
    ours, theirs = int(reference.argmax()), int(candidate.argmax())
    p, q = _log_softmax(reference), _log_softmax(candidate)
    return Drift(
        phase=phase,
        difference=float(np.abs(reference - candidate).max()) / scale,
        kl=max(0.0, float((np.exp(p) * (p - q)).sum())),
        same=ours == theirs,
        margin=float(reference[ours] - reference[theirs]) / scale,
    )


def _shared_rows(reference: Probe, candidate: Probe) -> int:
    """Rows before the two conversations part: all of them where one replayed the other."""
    count = 0
    for ours, theirs in zip(reference.turns, candidate.turns, strict=False):
        if ours.prompt != theirs.prompt:
            return count
        count += 1
        if ours.reply != theirs.reply:
            return count + _first_difference(ours.reply, theirs.reply)
        count += len(ours.reply)
    return count


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int:
    pairs = zip(ours, theirs, strict=False)
    shorter = min(len(ours), len(theirs))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)


def _log_softmax(row: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    shifted = row.astype(np.float64) - float(row.max())
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def stage_cosines(reference: Probe, candidate: Probe) -> dict[str, float]:
    """Cosine by stage, in the order of computation; stages that cannot be compared are left out.

    Logits are compared after their mean is taken away, which decides nothing.
    """
    found: dict[str, float] = {}
    if reference.view.grid == candidate.view.grid:
        found["pixels"] = cosine(reference.view.pixels, candidate.view.pixels)
    else:
        found["pixels"] = 0.0
    pairs = zip(reference.features, candidate.features, strict=False)
    cosines = [
        cosine(ours, theirs)
        for ours, theirs in pairs
        if ours is not None and theirs is not None and ours.shape == theirs.shape
    ]
    if cosines:
        found["vision features"] = min(cosines)
    if count := _shared_rows(reference, candidate):
        for stage, row in (("first logits", 0), ("last logits", count - 1)):
            ours, theirs = reference.logits[row], candidate.logits[row]
            found[stage] = cosine(ours - ours.mean(), theirs - theirs.mean())
    return found


def cosine(a: Floats, b: Floats) -> float:
    """Cosine of the angle between two arrays of the same shape; 1 where they are equal."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if np.array_equal(x, y):
        return 1.0
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / length if length else 0.0


def intersection_over_union(ours: Sequence[Box], theirs: Sequence[Box]) -> float:
    """Of the areas that two sets of boxes cover; overlaps within a set count once."""
    xs = sorted({x for box in (*ours, *theirs) for x in (box[0], box[2])})
    ys = sorted({y for box in (*ours, *theirs) for y in (box[1], box[3])})
    both = either = 0
    for left, right in pairwise(xs):
        for top, bottom in pairwise(ys):
            inside = [
                any(b[0] <= left and right <= b[2] and b[1] <= top and bottom <= b[3] for b in set_)
                for set_ in (ours, theirs)
            ]
            area = (right - left) * (bottom - top)
            both += area * all(inside)
            either += area * any(inside)
    return both / either if either else 1.0


def parting(reference: Row, candidate: Row) -> tuple[int, int, float | None] | None:
    """Where two replies first differ: turn, token, and the reference's margin there.

    The margin is None where the reference's reply was cut off by the token limit.
    """
    for turn, (ours, theirs) in enumerate(zip(reference.replies, candidate.replies, strict=False)):
        if ours == theirs:
            continue
        at = _first_difference(ours, theirs)
        margins = reference.margins[turn]
        return turn, at, margins[at] if at < len(margins) else None
    return None
