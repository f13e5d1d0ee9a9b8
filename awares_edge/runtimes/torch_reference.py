"""The `torch` runtime: transformers itself, the reference that parity is measured against.

Positions are always passed: with a cache and a new picture, transformers' own `forward` would
silently reuse the position offset of the first picture.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.errors import CheckpointError, InputError, RuntimeUnavailable, SessionError
from awares_edge.runtimes.base import (
    EncodedImage,
    Logits,
    Mark,
    Runtime,
    Segment,
    Session,
    TextSegment,
)
from awares_edge.vision.patches import Patches

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchRuntime(Runtime):
    """A checkpoint in transformers, on CPU or CUDA."""

    name = "torch"

    def __init__(self, model: Any, device: torch.device, dtype: str, context: int) -> None:
        self.model = model
        self.precision = dtype
        self.device = str(device)
        self.vocabulary = int(model.config.text_config.vocab_size)
        self.context = context

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        context: int | None = None,
    ) -> TorchRuntime:
        """Load a checkpoint folder (safetensors alone).

        Args:
            device: as torch names it.
            dtype: float32, float16 or bfloat16.
            context: most KV cells of a session; None for what the checkpoint declares.

        Raises:
            CheckpointError: not a readable Qwen2.5-VL checkpoint.
            InputError: no such dtype or device, or a context out of range.
            RuntimeUnavailable: the device is not usable here.
        """
        if dtype not in _DTYPES:
            raise InputError(f"no dtype {dtype!r}: choose one of {', '.join(_DTYPES)}")
        place = _device(device)
        Checkpoint.open(checkpoint)  # transformers would leave what is missing random
        try:
            model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
                checkpoint,
                dtype=_DTYPES[dtype],
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"transformers cannot load {checkpoint}: {reason}") from error
        declared = int(model.config.text_config.max_position_embeddings)
        if context is not None and not 1 <= context <= declared:
            raise InputError(f"a context of {context} is not within 1 and the model's {declared}")
        return cls(model.eval().to(place), place, dtype, context or declared)

    @torch.inference_mode()
    def encode_image(self, patches: Patches) -> EncodedImage:
        grid = torch.tensor([[1, patches.grid.height, patches.grid.width]], device=self.device)
        visual = self.model.model.visual
        pixels = torch.from_numpy(patches.pixels).to(self.device, visual.dtype)
        output = visual(pixels, grid_thw=grid)
        # transformers before 5 returns the features themselves.
        return EncodedImage(getattr(output, "pooler_output", output), patches.grid)

    def open_session(self, context: int | None = None) -> TorchSession:
        if context is not None and not 1 <= context <= self.context:
            raise InputError(f"a context of {context} is not within 1 and {self.context}")
        return TorchSession(self, context or self.context, DynamicCache())

    def close(self) -> None:
        self.model = None


class TorchSession(Session):
    """A `DynamicCache`: rewinding crops it, a fork copies it."""

    def __init__(
        self, runtime: TorchRuntime, context: int, cache: DynamicCache, mark: Mark | None = None
    ) -> None:
        super().__init__(context, mark)
        self._runtime = runtime
        self._cache: Any = cache

    @torch.inference_mode()
    def _forward(
        self, segments: Sequence[Segment], positions: NDArray[np.int64], keep_logits: int
    ) -> Logits:
        model, device = self._runtime.model, self._runtime.device
        embeds = torch.cat([self._embed(segment) for segment in segments])
        cells = torch.arange(self.cells, self.cells + len(embeds), device=device)
        output = model.model.language_model(
            inputs_embeds=embeds[None],
            position_ids=torch.from_numpy(positions).to(device)[:, None],
            past_key_values=self._cache,
            cache_position=cells,
            use_cache=True,
        )
        logits = model.lm_head(output.last_hidden_state[0, -keep_logits:])
        array: Logits = logits.float().cpu().numpy()
        return array

    def _embed(self, segment: Segment) -> torch.Tensor:
        """[cells, hidden] input of the language model."""
        model = self._runtime.model
        if not isinstance(segment, TextSegment):
            features: torch.Tensor = segment.image.features
            return features
        if not 0 <= min(segment.ids) <= max(segment.ids) < self._runtime.vocabulary:
            raise SessionError(
                f"token ids must be from 0 to {self._runtime.vocabulary - 1}: another tokenizer?"
            )
        ids = torch.tensor(segment.ids, device=self._runtime.device)
        embedded: torch.Tensor = model.get_input_embeddings()(ids)
        return embedded

    def _truncate(self, cells: int) -> None:
        if cells == 0:
            self._cache = DynamicCache()
        elif (extra := self._cache.get_seq_length() - cells) > 0:
            self._cache.crop(-extra)

    def _fork(self) -> Session:
        return TorchSession(self._runtime, self.context, copy.deepcopy(self._cache), self.mark())

    def _close(self) -> None:
        self._cache = None


def _device(name: str) -> torch.device:
    # torch itself keeps 8 bits of an index: its cuda:256 is cuda:0.
    match = re.fullmatch(r"cpu|cuda(?::(0|[1-9][0-9]{0,3}))?", name)
    if not match:
        raise InputError(f"no device {name!r}: choose cpu, cuda or cuda:N")
    if name != "cpu" and int(match[1] or 0) >= torch.cuda.device_count():
        raise RuntimeUnavailable(f"no {name} here: torch sees {torch.cuda.device_count()} GPUs")
    return torch.device(name)
