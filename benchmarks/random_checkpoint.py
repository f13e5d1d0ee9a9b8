"""Random checkpoints of any size, streamed to disk: speed and memory do not depend on values."""

from __future__ import annotations

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.checkpoint.names import expected_shapes  # noqa: E402
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

# The shape of Qwen2.5-VL-3B.
QWEN_3B = Shape(
    layers=36,
    hidden=2048,
    heads=16,
    kv_heads=2,
    intermediate=11008,
    vocabulary=151_936,
    tied=True,
    mrope_section=(16, 24, 24),
    vision_depth=32,
    vision_hidden=1280,
    vision_heads=16,
    vision_intermediate=3420,
    full_attention=(7, 15, 23, 31),
    context=32_768,
)

_CHUNK = 1 << 22


def write_random_checkpoint(path: Path, shape: Shape, dtype: str = "BF16", seed: int = 0) -> Path:
    """Write a checkpoint folder; one piece of 4M numbers in memory at a time.

    Args:
        dtype: "BF16" or "F32".
    """
    path.mkdir(parents=True)
    (path / "config.json").write_text(make_config(shape).to_json_string(use_diff=False))
    save_tokenizer(path, shape.vocabulary)
    shapes = expected_shapes(read_spec(path, has_head=not shape.tied))
    width = {"BF16": 2, "F32": 4}[dtype]
    header, offset = {}, 0
    for name, size in shapes.items():
        length = math.prod(size) * width
        span = [offset, offset + length]
        header[_stored(name)] = {"dtype": dtype, "shape": size, "data_offsets": span}
        offset += length
    rng = np.random.default_rng(seed)
    with (path / "model.safetensors").open("wb") as file:
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        file.write(struct.pack("<Q", len(head)) + head)
        for name, size in shapes.items():
            scale, shift = _distribution(name, size)
            for start in range(0, math.prod(size), _CHUNK):
                count = min(_CHUNK, math.prod(size) - start)
                values = rng.standard_normal(count, dtype=np.float32) * scale + shift
                if dtype == "BF16":
                    (values.view(np.uint32) >> 16).astype(np.uint16).tofile(file)
                else:
                    values.tofile(file)
    return path


def _stored(name: str) -> str:
    return name.replace("visual.", "model.visual.").replace("text.", "model.language_model.")


def _distribution(name: str, size: tuple[int, ...]) -> tuple[np.float32, np.float32]:
    if len(size) == 1:
        return np.float32(0.05), np.float32(0 if name.endswith("bias") else 1)
    return np.float32(0.5 * math.prod(size[1:]) ** -0.5), np.float32(0)
