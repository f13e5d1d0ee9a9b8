"""Tiny random Qwen2.5-VL checkpoints, made on the fly by transformers itself.

`make_checkpoint` writes a folder with config, safetensors, tokenizer, chat template and
preprocessor configuration: enough to run the whole product on it. Imports torch only when called.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

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

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CORPUS = (
    "system user assistant GET_CROPS: ['0', '5'] ['all'] You are a helpful assistant. "
    "What is written in the picture? top-left top-right bottom-left bottom-right center "
) * 4


@dataclass(frozen=True)
class Shape:
    """A tiny model's shape; sizes as in transformers' configuration."""

    layers: int = 2
    hidden: int = 64
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 96
    vocabulary: int = 384
    tied: bool = False
    rope_theta: float = 1_000_000.0
    mrope_section: tuple[int, int, int] = (2, 3, 3)
    vision_depth: int = 3
    vision_hidden: int = 48
    vision_heads: int = 3
    vision_intermediate: int = 80
    full_attention: tuple[int, ...] = (1,)
    context: int = 4096


SHAPES: dict[str, Shape] = {
    "untied": Shape(),
    "tied": Shape(
        layers=4,
        hidden=96,
        heads=3,
        kv_heads=1,
        intermediate=160,
        vocabulary=512,
        tied=True,
        rope_theta=10_000.0,
        mrope_section=(4, 6, 6),
        vision_depth=4,
        vision_hidden=64,
        vision_heads=2,
        vision_intermediate=96,
        full_attention=(0, 3),
    ),
    "wide": Shape(
        layers=1,
        hidden=128,
        heads=2,
        kv_heads=2,
        intermediate=128,
        vocabulary=450,
        mrope_section=(8, 12, 12),
        vision_depth=2,
        vision_hidden=80,
        vision_heads=4,
        vision_intermediate=64,
        full_attention=(),
    ),
}
"""Differ in depth, heads, head_dim, tying, full-attention pattern and vocabulary."""


def make_config(shape: Shape) -> Any:
    """transformers' configuration of a shape."""
    from transformers import Qwen2_5_VLConfig

    first = shape.vocabulary - len(SPECIALS)
    ids = {name: first + i for i, name in enumerate(SPECIALS)}
    text = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": shape.rope_theta,
            "mrope_section": list(shape.mrope_section),
        },
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision = {
        "depth": shape.vision_depth,
        "hidden_size": shape.vision_hidden,
        "intermediate_size": shape.vision_intermediate,
        "num_heads": shape.vision_heads,
        "out_hidden_size": shape.hidden,
        "fullatt_block_indexes": list(shape.full_attention),
        "window_size": 112,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=shape.tied,
    )


def make_model(shape: Shape, seed: int = 0) -> Any:
    """A random float32 model whose biases and norms are random too (transformers starts them at
    0 and 1, which would hide a forgotten one)."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(make_config(shape)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.05)
            elif parameter.ndim == 1:
                parameter.normal_(1, 0.1)
            else:
                fan_in = parameter[0].numel()
                parameter.normal_(0, 0.5 * fan_in**-0.5 if "embed_tokens" not in name else 0.5)
    return model


def make_checkpoint(
    path: Path,
    shape: Shape | str = "untied",
    seed: int = 0,
    *,
    layout: Literal["v4", "v5"] = "v5",
    shards: int = 1,
    tied: bool | None = None,
    dtype: str = "float32",
) -> Path:
    """Write a checkpoint folder.

    Args:
        shape: a `Shape`, or the name of one in `SHAPES`.
        layout: names and configuration as transformers 4 or 5 writes them.
        shards: number of safetensors files (over 1 with an index).
        tied: overrides the shape's tied head.
        dtype: of the stored tensors, as torch names it.
    """
    import torch

    shape = SHAPES[shape] if isinstance(shape, str) else shape
    if tied is not None:
        shape = replace(shape, tied=tied)
    model = make_model(shape, seed).to(getattr(torch, dtype))
    tensors = {
        name: value.contiguous()
        for name, value in model.state_dict().items()
        if not (shape.tied and name == "lm_head.weight")
    }
    config = json.loads(model.config.to_json_string(use_diff=False))
    if layout == "v4":
        tensors = {_v4_name(name): value for name, value in tensors.items()}
        config = _v4_config(config, shape)
    path.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, shards)
    write_json(path / "config.json", config)
    save_tokenizer(path, shape.vocabulary)
    eos = model.config.text_config.eos_token_id
    write_json(path / "generation_config.json", {"eos_token_id": [eos]})
    return path


def write_tensors(path: Path, tensors: dict[str, Any], shards: int = 1) -> None:
    """Save tensors as `model.safetensors`, or as shards with an index."""
    from safetensors.torch import save_file

    if shards == 1:
        save_file(tensors, path / "model.safetensors", {"format": "pt"})
        return
    names = list(tensors)
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i::shards]
        save_file({name: tensors[name] for name in part}, path / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    write_json(path / "model.safetensors.index.json", index)


def save_tokenizer(path: Path, vocabulary: int) -> None:
    """A byte-level BPE in Qwen2's format, with Qwen's special tokens as its last ids."""
    room = vocabulary - len(SPECIALS)
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = split
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=room, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator([_CORPUS], trainer)
    model = json.loads(trained.to_str())["model"]
    vocab: dict[str, int] = model["vocab"]
    for i in range(len(vocab), room):
        vocab[f"<|unused_{i}|>"] = i
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m) for m in model["merges"]]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    tokenizer.save(str(path / "tokenizer.json"))
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    write_json(
        path / "tokenizer_config.json",
        {"tokenizer_class": "Qwen2Tokenizer", "chat_template": CHAT_TEMPLATE, **special},
    )
    write_json(
        path / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "min_pixels": 3136,
            "max_pixels": 12845056,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    )


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _v4_name(name: str) -> str:
    return name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")


def _v4_config(config: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """The flat form: the text model's fields at the top, rope_theta beside rope_scaling."""
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    vision = config["vision_config"]
    vision.pop("rope_parameters", None)
    vision["in_chans"] = vision.pop("in_channels")
    flat = {
        **text,
        **config,
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "tie_word_embeddings": shape.tied,
        "model_type": "qwen2_5_vl",
    }
    flat.pop("layer_types", None)
    return flat
