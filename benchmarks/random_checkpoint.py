"""Random checkpoints of any size: speed and memory do not depend on values."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.checkpoint.random_weights import write_random_weights  # noqa: E402
from awares_edge.checkpoint.spec_reader import read_spec  # noqa: E402
from tests.support.checkpoints import Shape, make_config, save_tokenizer  # noqa: E402

# The shape that docs/benchmarks.md speaks of.
TWO_TURN = Shape(
    layers=12,
    hidden=1024,
    heads=8,
    kv_heads=2,
    intermediate=2816,
    vocabulary=32_000,
    mrope_section=(16, 24, 24),
    vision_depth=8,
    vision_hidden=640,
    vision_heads=8,
    vision_intermediate=1712,
    full_attention=(3, 7),
)
# 1.2B parameters, with the vocabulary of the published models.
LARGE = Shape(
    layers=24,
    hidden=1536,
    heads=12,
    kv_heads=2,
    intermediate=5632,
    vocabulary=151_936,
    tied=True,
    mrope_section=(16, 24, 24),
    vision_depth=12,
    vision_hidden=1024,
    vision_heads=16,
    vision_intermediate=2816,
    full_attention=(3, 7, 11),
)

# The published 3B model's, with a shorter context: a GPU's cache is allocated whole.
QWEN_3B = Shape(
    layers=36,
    hidden=2048,
    heads=16,
    kv_heads=2,
    intermediate=11_008,
    vocabulary=151_936,
    tied=True,
    mrope_section=(16, 24, 24),
    vision_depth=32,
    vision_hidden=1280,
    vision_heads=16,
    vision_intermediate=3420,
    full_attention=(7, 15, 23, 31),
    context=4096,
)
# The published 7B model's.
QWEN_7B = replace(
    QWEN_3B,
    layers=28,
    hidden=3584,
    heads=28,
    kv_heads=4,
    intermediate=18_944,
    vocabulary=152_064,
    tied=False,
)


def write_random_checkpoint(
    path: Path, shape: Shape, dtype: Literal["BF16", "F32"] = "BF16", seed: int = 0
) -> Path:
    """Write a checkpoint folder; one piece of 4M numbers in memory at a time."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(make_config(shape).to_json_string(use_diff=False))
    save_tokenizer(path, shape.vocabulary)
    spec = read_spec(path, has_head=not shape.tied)
    write_random_weights(path / "model.safetensors", spec, dtype, seed)
    return path
