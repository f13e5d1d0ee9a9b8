"""Loads a Qwen2.5-VL checkpoint, or a LoRA adapter on one, for training."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.preprocessor import read_preprocessing
from awares_edge.errors import CheckpointError, InputError
from awares_edge.protocol import TextTokenizer, get_profile
from awares_edge.training.encoding import Encoder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ADAPTER = "adapter_config.json"
_START = "start"

Reference = Callable[[], AbstractContextManager[Any]]
"""Gives the model as it was when training began, for as long as the context lasts."""


@dataclass
class Loaded:
    """A model and its encoder.

    Attributes:
        folder: where tokenizer and configurations were read.
        adapted: only a LoRA adapter is trained.
        accepted: names of the inputs that this version's forward takes.
    """

    model: Any
    encoder: Encoder
    folder: Path
    adapted: bool
    accepted: frozenset[str]

    @property
    def pad(self) -> int:
        """Id of the padding token."""
        found = self.encoder.tokenizer.id_of("<|endoftext|>")
        return self.encoder.special.im_end if found is None else found

    def inputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The parts of a batch that the model's forward takes; labels are not passed on."""
        return {k: v for k, v in batch.items() if k in self.accepted and k != "labels"}

    def reference(self) -> Reference:
        """The model at the start of training: a frozen copy, the model without its new adapter, or
        the adapter that training began with."""
        model = self.model
        if not self.adapted:
            frozen = copy.deepcopy(model).eval().requires_grad_(False)
            return lambda: nullcontext(frozen)
        if not (self.folder / _ADAPTER).is_file():
            return lambda: _without_adapter(model)
        model.load_adapter(str(self.folder), adapter_name=_START)
        return lambda: _with_adapter(model, _START)


def load_for_training(
    folder: Path, protocol: str, *, lora_rank: int = 0, dtype: str = "float32"
) -> Loaded:
    """Read a checkpoint folder, or an adapter's folder whose training continues.

    Args:
        lora_rank: rank of a new adapter, the only weights trained; 0 trains every weight. An
            existing adapter keeps its own rank; with 0 it is merged first.
        dtype: float32 or bfloat16 (weights; a new adapter stays in float32).

    Raises:
        CheckpointError: the folder holds neither, or an adapter whose base is missing.
        InputError: the dtype is unknown, or every weight would be trained in bfloat16, which
            loses small updates.
    """
    from transformers import GenerationConfig

    if dtype not in DTYPES:
        raise InputError(f"no dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
    if dtype != "float32" and not lora_rank:
        raise InputError(
            "bfloat16 weights would lose small updates: train every weight in float32, or a LoRA "
            "adapter"
        )
    adapted = (folder / _ADAPTER).is_file()
    base = _base_of(folder) if adapted else folder
    model = _read(base, DTYPES[dtype])
    accepted = frozenset(inspect.signature(model.forward).parameters)
    # Sampling is from the model's whole distribution: a checkpoint's own defaults (Qwen ships a
    # repetition penalty) would change the call's words, and the likelihoods would not match.
    model.generation_config = GenerationConfig()
    if adapted:
        model = _adapter(model, folder, trainable=bool(lora_rank))
    elif lora_rank:
        model = _new_adapter(model, lora_rank)
    tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
    encoder = Encoder(
        tokenizer, tokenizer.special_tokens(), get_profile(protocol), read_preprocessing(folder)
    )
    return Loaded(model, encoder, folder, lora_rank > 0, accepted)


def _read(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import Qwen2_5_VLForConditionalGeneration
    from transformers.utils.logging import disable_progress_bar

    Checkpoint.open(folder)  # transformers would initialise missing weights at random
    disable_progress_bar()
    try:
        # Absolute, since an adapter remembers it as its base.
        return Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder.resolve(), dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be loaded: {error}") from error


def _base_of(folder: Path) -> Path:
    try:
        name = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))[
            "base_model_name_or_path"
        ]
        base = Path(name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / _ADAPTER} does not name its base model") from error
    if not (base / "config.json").is_file():
        raise CheckpointError(
            f"{folder} is an adapter of {name}, which is not a checkpoint folder here: correct "
            f"base_model_name_or_path in its {_ADAPTER}"
        )
    return base


def _new_adapter(model: Any, rank: int) -> Any:
    """LoRA on the language model's linear layers, as published (r = 8)."""
    from peft import LoraConfig, get_peft_model

    pattern = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=pattern, task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def _adapter(model: Any, folder: Path, *, trainable: bool) -> Any:
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise CheckpointError(f"{folder} has no adapter_model.safetensors: pickles are not loaded")
    try:
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{folder} does not fit its base model: {error}") from error
    return adapted if trainable else adapted.merge_and_unload().requires_grad_(True)


@contextmanager
def _without_adapter(model: Any) -> Iterator[Any]:
    with model.disable_adapter():
        yield model


@contextmanager
def _with_adapter(model: Any, name: str) -> Iterator[Any]:
    model.set_adapter(name)
    try:
        yield model
    finally:
        model.set_adapter("default")
