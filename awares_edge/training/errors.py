"""Errors of training runs."""

from __future__ import annotations

from awares_edge.errors import AwaresError


class TrainingError(AwaresError):
    """A training run cannot start or continue; the message says what to do."""


class ReplyError(TrainingError):
    """An endpoint gave no usable answer to one request; others may work."""
