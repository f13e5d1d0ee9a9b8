"""Batched text forward over packed rows, using transformers' modules."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from recipes.nano.fast_vision import attend, rms_norm, rotate


class FastText(nn.Module):
    """Token ids, visual tokens and M-RoPE positions to final hidden states."""

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        self.text: Any = model.model.language_model
        config = model.config.text_config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.hidden_size // self.heads
        theta = float(config.rope_parameters["rope_theta"])
        steps = torch.arange(0, self.head_dim, 2).float() / self.head_dim
        self.inverse: Tensor
        self.axis: Tensor
        self.register_buffer("inverse", 1.0 / theta**steps, persistent=False)
        section = config.rope_parameters["mrope_section"]
        axis = torch.cat([torch.full((n,), i) for i, n in enumerate(section)])
        self.register_buffer("axis", axis, persistent=False)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin [B, 1, L, head_dim] of M-RoPE positions [3, B, L]."""
        chosen = positions[self.axis].permute(1, 2, 0).float()
        angles = chosen * self.inverse
        angles = torch.cat((angles, angles), dim=-1)[:, None]
        return angles.cos(), angles.sin()

    def forward(
        self, ids: Tensor, visual: Tensor, table: Tensor, positions: Tensor, block: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States after the last and after the second layer, each [B, L, width].

        ids, visual and block are int64 [B, L]. visual indexes table [T, width], or is -1 for text.
        A token attends to earlier tokens of block 0 (the prefix) and of its own block.
        """
        x = F.embedding(ids, self.text.embed_tokens.weight)
        seen = F.embedding(visual.clamp(min=0), table)
        x = torch.where((visual >= 0)[..., None], seen, x)
        cos, sin = self.rotary(positions)
        cos, sin = cos.to(x.dtype), sin.to(x.dtype)
        length = ids.shape[1]
        same = block[:, :, None] == block[:, None, :]
        prefix = (block == 0)[:, None, :]
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        seen_by = (same | prefix) & causal
        mask = torch.where(seen_by, 0.0, -1e4).to(x.dtype)[:, None]
        middle = x
        for i, layer in enumerate(self.text.layers):
            x = self.layer(layer, x, cos, sin, mask)
            if i == 1:
                middle = x
        return rms_norm(x, self.text.norm.weight), middle

    def layer(self, layer: Any, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        b, length, width = x.shape
        a = layer.self_attn
        normed = rms_norm(x, layer.input_layernorm.weight)
        q = F.linear(normed, a.q_proj.weight, a.q_proj.bias).view(b, length, self.heads, -1)
        k = F.linear(normed, a.k_proj.weight, a.k_proj.bias).view(b, length, self.kv_heads, -1)
        v = F.linear(normed, a.v_proj.weight, a.v_proj.bias).view(b, length, self.kv_heads, -1)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        groups = self.heads // self.kv_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        mixed = attend(q, k, v, mask)
        mixed = mixed.transpose(1, 2).reshape(b, length, width)
        x = x + F.linear(mixed, a.o_proj.weight)
        normed = rms_norm(x, layer.post_attention_layernorm.weight)
        m = layer.mlp
        hidden = F.silu(F.linear(normed, m.gate_proj.weight)) * F.linear(normed, m.up_proj.weight)
        return x + F.linear(hidden, m.down_proj.weight)
