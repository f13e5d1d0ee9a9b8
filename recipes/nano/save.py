"""Writes a nano model as a Hugging Face folder that transformers can load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from awares_edge.files import whole_folder
from awares_edge.protocol import ProtocolProfile, get_profile
from awares_edge.vision import Preprocessing
from recipes.nano.tokenizer import save_tokenizer

PROFILE = get_profile("nano")
TOKENIZER = {
    "tokenizer_class": "Qwen2Tokenizer",
    "add_prefix_space": False,
    "bos_token": None,
    "clean_up_tokenization_spaces": False,
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "unk_token": None,
    "model_max_length": 2048,
}
# Qwen2.5-VL's own template, reduced to text and images: the default system prompt if none is
# given, one vision block per image.
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
    model: Qwen2_5_VLForConditionalGeneration,
    folder: Path,
    recipe: dict[str, Any],
    profile: ProtocolProfile = PROFILE,
) -> None:
    """Write weights (bf16), configurations, tokenizer and ``recipe.json`` to ``folder``.

    ``profile`` is the protocol that the model was trained with.

    The folder is replaced atomically: an interrupted save leaves the last good checkpoint.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as staging:
        model.to(torch.bfloat16).save_pretrained(staging, safe_serialization=True)
        save_tokenizer(staging / "tokenizer.json")
        template = CHAT_TEMPLATE.replace("{{ system_prompt }}", profile.system)
        (staging / "chat_template.jinja").write_text(template)
        _write(staging / "tokenizer_config.json", {**TOKENIZER, "chat_template": template})
        _write(staging / "preprocessor_config.json", preprocessor_config())
        _write(staging / "recipe.json", recipe)


def preprocessor_config() -> dict[str, Any]:
    """The preprocessing of inference, as transformers' configuration."""
    pixels = Preprocessing()
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": PROFILE.min_pixels,
        "max_pixels": PROFILE.max_pixels,
        "patch_size": pixels.patch_size,
        "temporal_patch_size": pixels.temporal_patch_size,
        "merge_size": pixels.merge_size,
        "image_mean": pixels.image_mean,
        "image_std": pixels.image_std,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
