"""Writes a nano model as a Hugging Face folder that transformers loads as it stands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from awares_edge.training.nano.tokenizer import save_tokenizer

# Qwen2.5-VL's own template, cut to text and images: a default system prompt only where none is
# given, one vision block an image.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\n{{ system_prompt }}<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_checkpoint(
    model: Qwen2_5_VLForConditionalGeneration, folder: Path, recipe: dict[str, Any]
) -> None:
    """Write weights (bf16), configurations, tokenizer and ``recipe.json`` to ``folder``.

    Everything goes to a temporary folder beside it and is then moved, so that an
    interrupted save leaves the last good checkpoint.
    """
    from awares_edge.protocol import get_profile

    staging = folder.with_name(folder.name + ".partial")
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    model.to(torch.bfloat16).save_pretrained(staging, safe_serialization=True)
    save_tokenizer(staging / "tokenizer.json")
    system = get_profile("nano").system_prompt
    template = CHAT_TEMPLATE.replace("{{ system_prompt }}", system)
    _write(
        staging / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "add_prefix_space": False,
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "model_max_length": 2048,
            "chat_template": template,
        },
    )
    (staging / "chat_template.jinja").write_text(template)
    _write(
        staging / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
            "min_pixels": 3136,
            "max_pixels": 224 * 224,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "do_resize": True,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "do_convert_rgb": True,
            "resample": 3,
        },
    )
    _write(staging / "recipe.json", recipe)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(staging.iterdir()):
        file.replace(folder / file.name)
    staging.rmdir()


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
