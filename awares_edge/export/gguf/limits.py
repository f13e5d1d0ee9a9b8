"""What llama.cpp's loaders take for granted, checked before a byte is written.

llama.cpp hard-codes parts of Qwen2.5-VL's vision tower and reads others from keys; a model that
differs would load and answer nonsense. Each refusal names what differs.
"""

from __future__ import annotations

from awares_edge.errors import ExportError
from awares_edge.spec import ModelSpec, VisionSpec

_LEGACY_BLOCK = 32
_WINDOW = 112
_MAX_LAYERS = 512
# llama-cpp-python 0.3.36 computes qwen2vl's norms with 0, not the file's value. The logits then
# differ by twice the epsilon on random checkpoints: less than float16 does at Qwen's own 1e-6.
_MAX_EPSILON = 1e-6


def window_pattern(vision: VisionSpec) -> int:
    """`clip.vision.n_wa_pattern`: block i attends to the whole picture where (i+1) % it == 0.

    0 is llama.cpp's word for no windows at all. With 1, which by the rule means the same, it looks
    for windows that no block uses, and aborts the process.

    Raises:
        ExportError: the model's full-attention blocks are not so spaced.
    """
    full = vision.full_attention_blocks
    if set(range(vision.depth)) <= set(full):
        return 0
    pattern = full[0] + 1 if full else vision.depth + 1
    expected = tuple(i for i in range(vision.depth) if (i + 1) % pattern == 0)
    if tuple(i for i in full if i < vision.depth) != expected:
        raise ExportError(
            f"GGUF allows full-attention vision blocks only at equal distances, here they are at "
            f"{list(full)}: export it to ONNX"
        )
    return pattern


def check_model(spec: ModelSpec) -> None:
    """
    Raises:
        ExportError: llama.cpp would not load this model, or load it wrongly.
    """
    v = spec.vision
    fixed = {
        "vision window_size": (v.window_size, _WINDOW),
        "vision spatial_merge_size": (v.merge_size, 2),
        "vision temporal_patch_size": (v.temporal_patch_size, 2),
        "vision in_channels": (v.in_channels, 3),
    }
    for name, (value, wanted) in fixed.items():
        if value != wanted:
            raise ExportError(
                f"llama.cpp has {name} fixed at {wanted}, this model has {value}: export it to ONNX"
            )
    if v.hidden_size == v.intermediate_size:
        # The loader distinguishes up and down by shape, and silently swaps them if it cannot.
        raise ExportError(
            f"llama.cpp cannot tell apart the vision MLP's matrices where hidden_size and "
            f"intermediate_size are both {v.hidden_size}: export it to ONNX"
        )
    if sum(spec.mrope_section) * 2 != spec.head_dim:
        raise ExportError(
            f"mrope_section {list(spec.mrope_section)} must sum to half the head_dim "
            f"{spec.head_dim}: check the checkpoint's config.json"
        )
    if _WINDOW % (v.patch_size * v.merge_size):
        raise ExportError(
            f"a vision patch_size of {v.patch_size} does not divide llama.cpp's window of "
            f"{_WINDOW} pixels: export it to ONNX"
        )
    if spec.norm_eps > _MAX_EPSILON:
        raise ExportError(
            f"llama.cpp computes with an epsilon of 0, which is too far from this model's "
            f"rms_norm_eps of {spec.norm_eps:g} (at most {_MAX_EPSILON:g}): export it to ONNX"
        )
    if spec.layers > _MAX_LAYERS:
        raise ExportError(
            f"llama.cpp takes {_MAX_LAYERS} layers at most, this model has {spec.layers}: export "
            "it to ONNX"
        )
    window_pattern(v)


def check_rows(spec: ModelSpec, precision: str) -> None:
    """
    Raises:
        ExportError: a row of a matrix cannot be cut into the quantization's blocks.
    """
    rows = {
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "heads x head_dim": spec.heads * spec.head_dim,
    }
    for name, length in rows.items():
        if length % _LEGACY_BLOCK:
            raise ExportError(
                f"{precision} cuts rows into blocks of {_LEGACY_BLOCK} numbers, and {name} is "
                f"{length}: use f16, bf16 or f32"
            )
