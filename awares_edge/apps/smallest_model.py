"""The smallest checkpoint that every runtime can load: random weights, nano's tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from awares_edge.api import embedded_bundle
from awares_edge.bundle.store import Bundle
from awares_edge.checkpoint.random_weights import write_random_weights
from awares_edge.checkpoint.spec_reader import read_spec
from awares_edge.spec import TOKENIZER_NAME

_LAYERS, _CONTEXT = 2, 2048


def write_smallest_checkpoint(path: Path) -> Path:
    """Write a checkpoint folder of six megabytes."""
    bundle = Bundle.open(embedded_bundle(), verify=False)
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(_config(bundle)), encoding="utf-8")
    shutil.copyfile(bundle.path(TOKENIZER_NAME), path / TOKENIZER_NAME)
    write_random_weights(path / "model.safetensors", read_spec(path, has_head=False))
    return path


def _config(bundle: Bundle) -> dict[str, Any]:
    """transformers' configuration: nano's shape with fewer layers."""
    model, tokens = bundle.manifest.model, bundle.manifest.tokens
    vision = model.vision
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": True,
        "image_token_id": tokens.image_pad,
        "vision_start_token_id": tokens.vision_start,
        "vision_end_token_id": tokens.vision_end,
        "text_config": {
            "model_type": "qwen2_5_vl_text",
            "vocab_size": model.vocabulary,
            "hidden_size": model.hidden_size,
            "intermediate_size": model.intermediate_size,
            "num_hidden_layers": _LAYERS,
            "num_attention_heads": model.heads,
            "num_key_value_heads": model.kv_heads,
            "max_position_embeddings": _CONTEXT,
            "rms_norm_eps": model.norm_eps,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": model.rope_theta,
                "mrope_section": list(model.mrope_section),
            },
            "tie_word_embeddings": True,
        },
        "vision_config": {
            "model_type": "qwen2_5_vl_vision",
            "depth": _LAYERS,
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "num_heads": vision.heads,
            "out_hidden_size": model.hidden_size,
            "fullatt_block_indexes": [_LAYERS - 1],
            "window_size": vision.window_size,
            "patch_size": vision.patch_size,
            "temporal_patch_size": vision.temporal_patch_size,
            "spatial_merge_size": vision.merge_size,
        },
    }
