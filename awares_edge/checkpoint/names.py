"""Tensor names: one canonical form for every version of transformers that wrote the checkpoint.

Canonical: `visual.*` (vision tower), `text.*` (language model), `lm_head.weight`.
transformers 4 writes `visual.*`, `model.*`; transformers 5 `model.visual.*`,
`model.language_model.*`.
"""

from __future__ import annotations

from awares_edge.spec import ModelSpec

_PREFIXES = (
    ("model.visual.", "visual."),
    ("visual.", "visual."),
    ("model.language_model.", "text."),
    ("language_model.model.", "text."),
    ("language_model.lm_head.", "lm_head."),
    ("model.", "text."),
    ("lm_head.", "lm_head."),
)
EMBEDDING = "text.embed_tokens.weight"
HEAD = "lm_head.weight"
PATCH_EMBEDDING = "visual.patch_embed.proj.weight"


def canonical(name: str) -> str | None:
    """Canonical form of a stored tensor's name; None where it fits no known layout."""
    for prefix, replacement in _PREFIXES:
        if name.startswith(prefix):
            return replacement + name[len(prefix) :]
    return None


def ignorable(name: str) -> bool:
    """Whether a stored tensor is a buffer that older versions saved and that is not needed."""
    return name.endswith("rotary_emb.inv_freq") or name.endswith("rotary_pos_emb.inv_freq")


def expected_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model of this shape, in the order of computation."""
    return {**_vision_shapes(spec), **_text_shapes(spec)}


def _vision_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    v = spec.vision
    d, i = v.hidden_size, v.intermediate_size
    merged = d * v.merge_size**2
    patch = (v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size)
    shapes: dict[str, tuple[int, ...]] = {PATCH_EMBEDDING: (d, *patch)}
    for block in range(v.depth):
        at = f"visual.blocks.{block}"
        shapes |= {
            f"{at}.norm1.weight": (d,),
            f"{at}.attn.qkv.weight": (3 * d, d),
            f"{at}.attn.qkv.bias": (3 * d,),
            f"{at}.attn.proj.weight": (d, d),
            f"{at}.attn.proj.bias": (d,),
            f"{at}.norm2.weight": (d,),
            f"{at}.mlp.gate_proj.weight": (i, d),
            f"{at}.mlp.gate_proj.bias": (i,),
            f"{at}.mlp.up_proj.weight": (i, d),
            f"{at}.mlp.up_proj.bias": (i,),
            f"{at}.mlp.down_proj.weight": (d, i),
            f"{at}.mlp.down_proj.bias": (d,),
        }
    return shapes | {
        "visual.merger.ln_q.weight": (d,),
        "visual.merger.mlp.0.weight": (merged, merged),
        "visual.merger.mlp.0.bias": (merged,),
        "visual.merger.mlp.2.weight": (v.out_hidden_size, merged),
        "visual.merger.mlp.2.bias": (v.out_hidden_size,),
    }


def _text_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    h, i = spec.hidden_size, spec.intermediate_size
    q, kv = spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (spec.vocabulary, h)}
    for layer in range(spec.layers):
        at = f"text.layers.{layer}"
        shapes |= {
            f"{at}.input_layernorm.weight": (h,),
            f"{at}.self_attn.q_proj.weight": (q, h),
            f"{at}.self_attn.q_proj.bias": (q,),
            f"{at}.self_attn.k_proj.weight": (kv, h),
            f"{at}.self_attn.k_proj.bias": (kv,),
            f"{at}.self_attn.v_proj.weight": (kv, h),
            f"{at}.self_attn.v_proj.bias": (kv,),
            f"{at}.self_attn.o_proj.weight": (h, q),
            f"{at}.post_attention_layernorm.weight": (h,),
            f"{at}.mlp.gate_proj.weight": (i, h),
            f"{at}.mlp.up_proj.weight": (i, h),
            f"{at}.mlp.down_proj.weight": (h, i),
        }
    shapes["text.norm.weight"] = (h,)
    if not spec.tied:
        shapes[HEAD] = (spec.vocabulary, h)
    return shapes
