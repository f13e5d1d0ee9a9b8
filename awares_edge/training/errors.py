"""Errors of training runs."""

from __future__ import annotations

from awares_edge.errors import AwaresError


class TrainingError(AwaresError):
    """A training run cannot start or go on; the message says what to do."""


class EndpointError(TrainingError):
    """An OpenAI-compatible endpoint is away, or refuses to serve: no use in going on."""


class ReplyError(TrainingError):
    """An endpoint gave no usable answer to one request; others may do."""
