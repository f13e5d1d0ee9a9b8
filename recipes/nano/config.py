"""Shape of the nano model: transformers' Qwen2.5-VL architecture with 4.5M parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

VOCAB = 512
SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_FIRST = VOCAB - len(SPECIALS)
SPECIAL_IDS = {name: _FIRST + i for i, name in enumerate(SPECIALS)}


def nano_config() -> Qwen2_5_VLConfig:
    """Configuration of the embedded model (LOG.md gives the reasons)."""
    text: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 100.0,
            "mrope_section": [1, 3, 12],
        },
        "bos_token_id": SPECIAL_IDS["<|endoftext|>"],
        "eos_token_id": SPECIAL_IDS["<|im_end|>"],
        "pad_token_id": SPECIAL_IDS["<|endoftext|>"],
        "tie_word_embeddings": True,
    }
    vision: dict[str, Any] = {
        "depth": 4,
        "hidden_size": 192,
        "intermediate_size": 448,
        "num_heads": 6,
        "out_hidden_size": 192,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [3],
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=SPECIAL_IDS["<|image_pad|>"],
        video_token_id=SPECIAL_IDS["<|video_pad|>"],
        vision_start_token_id=SPECIAL_IDS["<|vision_start|>"],
        vision_end_token_id=SPECIAL_IDS["<|vision_end|>"],
        tie_word_embeddings=True,
        dtype="bfloat16",
    )


def build_model(seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """A freshly initialised nano model in fp32."""
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(nano_config())
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            nn.init.ones_(parameter) if "norm" in name or "ln_q" in name else nn.init.zeros_(
                parameter
            )
            continue
        fan_in = parameter[0].numel()
        std = 0.7 * fan_in**-0.5
        if "embed_tokens" in name:
            std = 0.05
        if name.endswith(("o_proj.weight", "attn.proj.weight", "down_proj.weight")):
            std *= 0.35  # residual branches start small
        with torch.no_grad():
            parameter.normal_(0.0, std, generator=generator)
    return model.float()
