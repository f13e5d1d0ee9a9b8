"""A checkpoint in transformers beside the same checkpoint in our runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from awares_edge.bundle import Bundle
from awares_edge.export import export_checkpoint
from awares_edge.protocol.profiles import get_profile
from awares_edge.runtimes.base import ImageSegment, Runtime, Segment, TextSegment
from awares_edge.runtimes.onnx import OnnxRuntime
from awares_edge.vision import Patches, Preprocessing, extract_patches
from tests.support.checkpoints import make_checkpoint


@dataclass
class Pair:
    """transformers' model, a bundle of it, and the `onnx` runtime of that bundle."""

    checkpoint: Path
    reference: Any
    bundle: Bundle
    runtime: OnnxRuntime

    def reference_logits(self, parts: list[tuple[int, ...] | Patches]) -> np.ndarray:
        """float32 [cells, vocabulary]: transformers over everything at once, without a cache."""
        inputs = self.reference_inputs(parts)
        with torch.inference_mode():
            return self.reference(**inputs, use_cache=False).logits[0].numpy()

    def reference_inputs(self, parts: list[tuple[int, ...] | Patches]) -> dict[str, Any]:
        """Arguments of transformers' `forward`, positions by its own `get_rope_index`."""
        pad = self.reference.config.image_token_id
        ids, pixels, grids = [], [], []
        for part in parts:
            if isinstance(part, Patches):
                ids += [pad] * part.grid.tokens
                pixels.append(part.pixels)
                grids.append([1, part.grid.height, part.grid.width])
            else:
                ids += part
        tokens = torch.tensor([ids])
        kinds = (tokens == pad).int()
        grid = torch.tensor(grids)
        positions, _ = self.reference.model.get_rope_index(
            tokens, mm_token_type_ids=kinds, image_grid_thw=grid
        )
        return {
            "input_ids": tokens,
            "position_ids": positions,
            "pixel_values": torch.from_numpy(np.concatenate(pixels)),
            "image_grid_thw": grid,
            "mm_token_type_ids": kinds,
        }


def make_pair(root: Path, shape: str, precision: str = "fp32") -> Pair:
    checkpoint = make_checkpoint(root / "checkpoint", shape, seed=3)
    export_checkpoint(
        checkpoint, root / "bundle", precision=precision, profile=get_profile("paper")
    )
    reference = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    bundle = Bundle.open(root / "bundle")
    return Pair(checkpoint, reference, bundle, OnnxRuntime.load(bundle, threads=1))


def noise_patches(width: int, height: int, seed: int) -> Patches:
    """A noise picture, cut into patches."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    return extract_patches(image, Preprocessing(), min_pixels=3136, max_pixels=1_000_000)


def segments(runtime: Runtime, parts: list[tuple[int, ...] | Patches]) -> list[Segment]:
    """Text and pictures as segments of a runtime."""
    return [
        ImageSegment(runtime.encode_image(part)) if isinstance(part, Patches) else TextSegment(part)
        for part in parts
    ]
