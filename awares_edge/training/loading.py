"""Loads a Qwen2.5-VL checkpoint for training, with the code that encodes its inputs."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from awares_edge.errors import CheckpointError
from awares_edge.protocol import TextTokenizer, get_profile
from awares_edge.training.encoding import Encoder


@dataclass
class Loaded:
    """A model and its encoder.

    Attributes:
        accepted: names of the inputs that this version's forward takes.
    """

    model: Any
    encoder: Encoder
    folder: Path
    accepted: frozenset[str]

    @property
    def pad(self) -> int:
        found = self.encoder.tokenizer.id_of("<|endoftext|>")
        return self.encoder.special.im_end if found is None else found

    def inputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """What of a batch the model's forward takes; labels stay with us."""
        return {k: v for k, v in batch.items() if k in self.accepted and k != "labels"}


def load_for_training(
    folder: Path, protocol: str, *, lora_rank: int = 0, dtype: str = "float32"
) -> Loaded:
    """Read a checkpoint folder; with ``lora_rank`` only an adapter is trainable.

    Raises:
        CheckpointError: the folder holds no Qwen2.5-VL checkpoint.
    """
    from transformers import Qwen2_5_VLForConditionalGeneration

    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} holds no checkpoint: give a folder with config.json")
    try:
        model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=getattr(torch, dtype)
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be loaded: {error}") from error
    accepted = frozenset(inspect.signature(model.forward).parameters)
    tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
    encoder = Encoder(tokenizer, tokenizer.special_tokens(), get_profile(protocol))
    if lora_rank:
        model = _with_lora(model, lora_rank)
    return Loaded(model, encoder, folder, accepted)


def _with_lora(model: Any, rank: int) -> Any:
    """LoRA on the language model's linear layers, as published (r = 8)."""
    from peft import LoraConfig, get_peft_model

    pattern = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=pattern, task_type="CAUSAL_LM")
    return get_peft_model(model, config)
