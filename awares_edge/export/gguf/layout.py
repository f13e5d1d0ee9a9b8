"""Where each tensor of a GGUF file comes from: names, slices and types of both files.

Names are llama.cpp's (`gguf-py` constants, tables `MODEL_ARCH.QWEN2VL` and `MODEL_ARCH.MMPROJ`).
No weight is permuted; the vision tower's qkv is cut in three and its patch embedding in two frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from awares_edge.checkpoint.names import EMBEDDING, HEAD, PATCH_EMBEDDING, expected_shapes
from awares_edge.runtimes.llamacpp.files import TOKEN_EMBEDDING
from awares_edge.spec import ModelSpec

Kind: TypeAlias = Literal["f32", "f16", "bf16", "q8_0"]
"""How a file's numbers are stored before any quantization by llama.cpp."""

_BLOCK_TEXT = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
_BLOCK_VISION = {
    "norm1.weight": "ln1.weight",
    "attn.proj.weight": "attn_out.weight",
    "attn.proj.bias": "attn_out.bias",
    "norm2.weight": "ln2.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.gate_proj.bias": "ffn_gate.bias",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.up_proj.bias": "ffn_up.bias",
    "mlp.down_proj.weight": "ffn_down.weight",
    "mlp.down_proj.bias": "ffn_down.bias",
}
_VISION = {
    "visual.merger.ln_q.weight": "v.post_ln.weight",
    "visual.merger.mlp.0.weight": "mm.0.weight",
    "visual.merger.mlp.0.bias": "mm.0.bias",
    "visual.merger.mlp.2.weight": "mm.2.weight",
    "visual.merger.mlp.2.bias": "mm.2.bias",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One tensor of a GGUF file.

    Attributes:
        name: its name there.
        source: canonical name in the checkpoint.
        shape: as numpy has it (GGUF writes it reversed).
        kind: how its numbers are stored.
        start: first row of the source that belongs to it.
        frame: which temporal frame of the patch embedding it is; None elsewhere.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    kind: Kind
    start: int = 0
    frame: int | None = None


def text_name(source: str) -> str:
    """Name in the text file of a canonical text tensor."""
    top = {
        EMBEDDING: TOKEN_EMBEDDING,
        HEAD: "output.weight",
        "text.norm.weight": "output_norm.weight",
    }
    if source in top:
        return top[source]
    _, _, layer, rest = source.split(".", 3)
    return f"blk.{layer}.{_BLOCK_TEXT[rest]}"


def text_tensors(spec: ModelSpec, kind: Kind) -> Iterator[Planned]:
    """Tensors of the text file; norms and biases stay float32, which the loader demands."""
    for source, shape in expected_shapes(spec).items():
        if not source.startswith("visual."):
            yield Planned(text_name(source), source, shape, "f32" if len(shape) == 1 else kind)


def vision_tensors(spec: ModelSpec, kind: Kind, patch_kind: Kind) -> Iterator[Planned]:
    """Tensors of the mmproj file.

    Args:
        patch_kind: of the patch embedding, which is best kept as the checkpoint has it: bf16
            weights stay exact, and llama.cpp then does not round the pixels to f16.
    """
    for source, shape in expected_shapes(spec).items():
        if not source.startswith("visual."):
            continue
        stored: Kind = "f32" if len(shape) == 1 else kind
        if source == PATCH_EMBEDDING:
            yield from _frames(source, shape, patch_kind)
        elif source in _VISION:
            yield Planned(_VISION[source], source, shape, stored)
        else:
            yield from _block(spec, source, shape, stored)


def _frames(source: str, shape: tuple[int, ...], kind: Kind) -> Iterator[Planned]:
    """The patch embedding, one tensor a temporal frame."""
    rows, channels, frames, *patch = shape
    for frame in range(frames):
        name = "v.patch_embd.weight" + (f".{frame}" if frame else "")
        yield Planned(name, source, (rows, channels, *patch), kind, frame=frame)


def _block(spec: ModelSpec, source: str, shape: tuple[int, ...], kind: Kind) -> Iterator[Planned]:
    _, _, block, rest = source.split(".", 3)
    if rest.startswith("attn.qkv."):
        width = spec.vision.hidden_size
        suffix = rest.removeprefix("attn.qkv.")
        for i, part in enumerate("qkv"):
            name = f"v.blk.{block}.attn_{part}.{suffix}"
            yield Planned(name, source, (width, *shape[1:]), kind, start=i * width)
        return
    last = int(block) == spec.vision.depth - 1
    if last and rest == "mlp.down_proj.weight" and kind == "f16":
        # Its input overflows f16 in the 3B and 7B models, and an f16 weight makes it f16.
        kind = "f32"
    yield Planned(f"v.blk.{block}.{_BLOCK_VISION[rest]}", source, shape, kind)
