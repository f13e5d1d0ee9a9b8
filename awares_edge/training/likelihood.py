"""Logits of the generated tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from awares_edge.training.encoding import IGNORE, Conversation, collate
from awares_edge.training.loading import Loaded


def label_logits(
    loaded: Loaded, model: Any, batch: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [rows, n, vocabulary] in fp32, labels and weights [rows, n], where any row has labels.

    The head runs on those positions only: over whole conversations, image tokens included, a 7B
    model's logits would take tens of gigabytes.
    """
    labels = batch["labels"][:, 1:]
    places = (labels != IGNORE).any(0).nonzero()[:, 0]
    logits = model(**loaded.inputs(batch), logits_to_keep=places).logits.float()
    return logits, labels[:, places], batch["loss_weights"][:, 1:][:, places]


def log_likelihoods(
    loaded: Loaded, model: Any, rows: Sequence[Conversation]
) -> tuple[Tensor, Tensor]:
    """Log-likelihoods of the generated tokens [rows, n], 0 elsewhere, and the mask of those."""
    batch = collate(rows, loaded.encoder.special.image_pad, loaded.pad)
    device = next(model.parameters()).device
    logits, labels, _ = label_logits(loaded, model, {k: v.to(device) for k, v in batch.items()})
    losses = token_losses(logits, labels)
    return -losses, (labels != IGNORE).float()


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each label [rows, n]; 0 where there is none."""
    losses = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return losses.view_as(labels)


def weighted_nll(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """sum(w nll) / sum(w) over labelled tokens; logits [B, n, V], labels and weights [B, n]."""
    losses = token_losses(logits, labels)
    share = weights * (labels != IGNORE)
    return (losses * share).sum() / share.sum().clamp(min=1e-6)


def all_finite(tensors: Sequence[Tensor | None]) -> bool:
    """Whether no value in ``tensors`` is NaN or infinite."""
    return all(bool(torch.isfinite(x).all()) for x in tensors if x is not None)
