"""Outlier channels as large models have them, planted into small ones without changing them.

Chosen channels of what goes into each matrix become 30 to 300 times larger, and the matrix's
columns smaller by the same factors: through a norm's weight, through rows of up_proj (silu(gate) *
up is linear in up) and through rows of the value projection (attention mixes tokens, not channels).
Written on transformers' modules, so that the exporter's own algebra is not what is compared.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

SHARE = 0.03
LEAST, MOST = 30.0, 300.0


def plant_outliers(source: Path, target: Path, seed: int = 0) -> Path:
    """Write a checkpoint that computes the same as `source`, in float32."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            _text_layer(layer, model.config.text_config, rng)
        for block in model.model.visual.blocks:
            _vision_block(block, rng)
        merger = model.model.visual.merger
        factors = _factors(merger.ln_q.weight.shape[0], rng)
        merger.ln_q.weight *= factors
        merger.mlp[0].weight /= factors.repeat(merger.mlp[0].weight.shape[1] // len(factors))
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = (target / "config.json").read_bytes()
    model.save_pretrained(target)
    (target / "config.json").write_bytes(config)
    return target


def _factors(count: int, rng: np.random.Generator) -> Any:
    import torch

    factors = np.ones(count, dtype=np.float32)
    chosen = rng.choice(count, max(2, round(SHARE * count)), replace=False)
    factors[chosen] = np.exp(rng.uniform(np.log(LEAST), np.log(MOST), len(chosen)))
    return torch.from_numpy(factors)


def _behind_norm(norm: Any, layers: list[Any], rng: np.random.Generator) -> None:
    factors = _factors(norm.weight.shape[0], rng)
    norm.weight *= factors
    for layer in layers:
        layer.weight /= factors


def _scale_rows(layer: Any, factors: Any, start: int = 0) -> None:
    rows = slice(start, start + len(factors))
    layer.weight[rows] *= factors[:, None]
    if layer.bias is not None:
        layer.bias[rows] *= factors


def _mlp(mlp: Any, rng: np.random.Generator) -> None:
    factors = _factors(mlp.up_proj.weight.shape[0], rng)
    _scale_rows(mlp.up_proj, factors)
    mlp.down_proj.weight /= factors


def _text_layer(layer: Any, config: Any, rng: np.random.Generator) -> None:
    attention, mlp = layer.self_attn, layer.mlp
    _behind_norm(layer.input_layernorm, [attention.q_proj, attention.k_proj, attention.v_proj], rng)
    _behind_norm(layer.post_attention_layernorm, [mlp.gate_proj, mlp.up_proj], rng)
    _mlp(mlp, rng)
    factors = _factors(attention.v_proj.weight.shape[0], rng)
    _scale_rows(attention.v_proj, factors)
    heads = factors.view(config.num_key_value_heads, 1, -1)
    group = config.num_attention_heads // config.num_key_value_heads
    attention.o_proj.weight /= heads.expand(-1, group, -1).reshape(-1)


def _vision_block(block: Any, rng: np.random.Generator) -> None:
    attention, mlp = block.attn, block.mlp
    _behind_norm(block.norm1, [attention.qkv], rng)
    _behind_norm(block.norm2, [mlp.gate_proj, mlp.up_proj], rng)
    _mlp(mlp, rng)
    factors = _factors(attention.proj.weight.shape[1], rng)
    _scale_rows(attention.qkv, factors, start=2 * len(factors))
    attention.proj.weight /= factors
