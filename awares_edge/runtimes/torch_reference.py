"""The `torch` runtime: transformers itself, the reference that parity is measured against.

Positions are always passed: with a cache and a new picture, transformers' own `forward` would
silently reuse the position offset of the first picture.
"""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLTextModel

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.errors import CheckpointError, InputError
from awares_edge.runtimes.base import (
    EncodedImage,
    ImagePart,
    Logits,
    Mark,
    Piece,
    Runtime,
    SavedSession,
    Session,
    TextSegment,
)
from awares_edge.runtimes.devices import Device, choose_device
from awares_edge.runtimes.options import RuntimeOptions, choose_context
from awares_edge.runtimes.pruning import check_share, encode_pruned
from awares_edge.runtimes.threads import check_threads, cores
from awares_edge.vision.patches import Patches

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# numpy has no bfloat16: saved sessions hold the bits.
_BITS = {"float32": np.int32, "float16": np.int16, "bfloat16": np.int16}
_KINDS = ("cuda", "cpu")
# transformers before 5.24 has the older name, 5.40 is to drop it.
_PARAMETERS = inspect.signature(Qwen2_5_VLTextModel.forward).parameters
_CACHE = "cache" if "cache" in _PARAMETERS else "past_key_values"


def load(checkpoint: Path, options: RuntimeOptions) -> TorchRuntime:
    """Load a checkpoint as the registry does."""
    return TorchRuntime.load(
        checkpoint,
        device=options.device,
        dtype=options.dtype or "float32",
        threads=options.threads,
        context=options.context,
    )


def usable_devices() -> list[str]:
    """Devices that torch can use here, best first."""
    return [*(f"cuda:{i}" for i in range(torch.cuda.device_count())), "cpu"]


class TorchRuntime(Runtime):
    """A checkpoint in transformers, on CPU or CUDA.

    Attributes:
        keep: share of each picture's visual tokens that is kept; 1 for all.
    """

    name: ClassVar[str] = "torch"
    saving = f"torch {torch.__version__}, transformers {transformers.__version__}"

    def __init__(
        self, model: Any, device: Device, dtype: str, context: int, keep: float = 1.0
    ) -> None:
        self.keep = check_share(keep)
        self.model = model
        self.place = device
        self.precision = dtype
        self.device = str(device)
        self.vocabulary = int(model.config.text_config.vocab_size)
        self.context = context

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        *,
        device: str | None = None,
        dtype: str = "float32",
        threads: int | None = None,
        context: int | None = None,
    ) -> TorchRuntime:
        """Load a checkpoint folder (only safetensors).

        Args:
            device: "cpu", "cuda" or "cuda:N"; None for the first GPU, else the CPU.
            dtype: float32, float16 or bfloat16.
            threads: CPU threads, of all that torch does in this process; None leaves torch's
                number, up to one for each core that this process may use.
            context: most KV cells of a session; None for what the checkpoint declares.

        Raises:
            CheckpointError: not a readable Qwen2.5-VL checkpoint.
            InputError: no such dtype or device, or a number out of range.
            RuntimeUnavailable: the device is not usable here.
        """
        if dtype not in _DTYPES:
            raise InputError(f"no dtype {dtype!r}: choose one of {', '.join(_DTYPES)}")
        place = choose_device(device, _KINDS, _usable, missing=_seen())
        _set_threads(threads)
        Checkpoint.open(checkpoint)  # transformers would leave missing weights random
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
        size = choose_context(context, int(model.config.text_config.max_position_embeddings))
        return cls(model.eval().to(str(place)), place, dtype, size)

    @torch.inference_mode()
    def encode_image(self, patches: Patches) -> EncodedImage:
        visual = self.model.model.visual
        pixels = torch.from_numpy(patches.pixels).to(self.device, visual.dtype)
        return encode_pruned(visual, pixels, patches.grid, self.keep)

    def pruned(self, share: float) -> TorchRuntime:
        return TorchRuntime(self.model, self.place, self.precision, self.context, share)

    def _open(self, context: int) -> TorchSession:
        return TorchSession(self.model, context, self.vocabulary, DynamicCache())

    def _restore(self, saved: SavedSession, context: int) -> TorchSession:
        cache, cells = DynamicCache(), saved.mark.cells
        text = self.model.config.text_config
        heads = text.num_attention_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // heads
        shape = (2 * text.num_hidden_layers, text.num_key_value_heads, cells, width)
        bits = saved.array("kv", _BITS[self.precision], shape)
        kv = torch.tensor(bits).view(_DTYPES[self.precision]).to(self.device)
        for layer in range(text.num_hidden_layers):
            cache.update(kv[None, 2 * layer], kv[None, 2 * layer + 1], layer)
        return TorchSession(self.model, context, self.vocabulary, cache, saved.mark)

    def close(self) -> None:
        self.model = None


class TorchSession(Session):
    """A `DynamicCache`: rewinding crops it, a fork copies it."""

    def __init__(
        self,
        model: Any,
        context: int,
        vocabulary: int,
        cache: DynamicCache,
        mark: Mark | None = None,
    ) -> None:
        super().__init__(context, vocabulary, mark)
        self._model = model
        self._cache: Any = cache

    @torch.inference_mode()
    def _forward(self, piece: Piece) -> Logits:
        model = self._model
        embeds = torch.cat([self._embed(part) for part in piece.parts])
        output = model.model.language_model(
            inputs_embeds=embeds[None],
            position_ids=torch.from_numpy(piece.positions).to(model.device)[:, None],
            use_cache=True,
            **{_CACHE: self._cache},
        )
        logits = model.lm_head(output.last_hidden_state[0, -piece.keep :])
        array: Logits = logits.float().cpu().numpy()
        return array

    def _embed(self, part: TextSegment | ImagePart) -> torch.Tensor:
        """[cells, hidden] input of the language model."""
        if isinstance(part, ImagePart):
            features: torch.Tensor = part.features
            return features
        ids = torch.tensor(part.ids, device=self._model.device)
        embedded: torch.Tensor = self._model.get_input_embeddings()(ids)
        return embedded

    def _truncate(self, cells: int) -> None:
        if cells == 0:
            self._cache = DynamicCache()
        elif (extra := self._cache.get_seq_length() - cells) > 0:
            self._cache.crop(-extra)

    def _fork(self) -> Session:
        cache = copy.deepcopy(self._cache)
        return TorchSession(self._model, self.context, self.vocabulary, cache, self.mark())

    def _save(self) -> dict[str, NDArray[Any]]:
        bits = {4: torch.int32, 2: torch.int16}
        layers = [t[0] for layer in self._cache.layers for t in (layer.keys, layer.values)]
        kv = torch.stack(layers)
        return {"kv": kv.view(bits[kv.element_size()]).cpu().numpy()}

    def _close(self) -> None:
        self._cache = self._model = None


def _usable(device: Device) -> bool:
    return device.on_cpu or device.index < torch.cuda.device_count()


def _seen() -> str:
    return f"torch sees {torch.cuda.device_count()} CUDA devices"


def _set_threads(count: int | None) -> None:
    """torch's threads are the whole process's, so its number is kept where it does no harm."""
    check_threads(count)
    if count is not None or torch.get_num_threads() > cores():
        torch.set_num_threads(count or cores())
