"""`config.json` of a Qwen2.5-VL checkpoint (transformers 4's flat form and 5's nested one)."""

from __future__ import annotations

import re
from pathlib import Path

from awares_edge.checkpoint.json_object import JsonObject
from awares_edge.errors import CheckpointError
from awares_edge.spec import ModelSpec, VisionSpec

ARCHITECTURE = "qwen2_5_vl"
VISION_ROPE_THETA = 10_000.0


def read_spec(checkpoint: Path, *, has_head: bool, name: str | None = None) -> ModelSpec:
    """The model's shape.

    Args:
        has_head: whether the tensors include an output head; decides where the config is silent
            about tying.
        name: of the model; None for the folder's.

    Raises:
        CheckpointError: another architecture, or an option that is not supported here.
    """
    config = JsonObject.read(checkpoint / "config.json")
    kind = config.data.get("model_type")
    if kind != ARCHITECTURE:
        raise CheckpointError(
            f"{checkpoint} holds a model of type {kind!r}: give a Qwen2.5-VL checkpoint "
            f"(model_type {ARCHITECTURE!r})"
        )
    if "quantization_config" in config:
        raise CheckpointError(f"{checkpoint} is quantized: give the checkpoint it was made from")
    text = config.child("text_config") if "text_config" in config else config
    hidden = text.integer("hidden_size")
    heads = text.integer("num_attention_heads")
    kv_heads = text.integer("num_key_value_heads", heads)
    if hidden % heads or heads % kv_heads:
        raise CheckpointError(
            f"{config.where}: hidden_size {hidden}, {heads} heads and {kv_heads} KV heads do not "
            "divide"
        )
    head_dim = hidden // heads
    if text.integer("head_dim", head_dim) != head_dim:
        raise CheckpointError(f"{text.where}: head_dim must be hidden_size / heads = {head_dim}")
    if text.boolean("use_sliding_window", False):
        raise CheckpointError(f"{text.where}: sliding-window attention is not supported")
    _require_silu(text)
    theta, section = _read_rope(text, head_dim)
    vision = _read_vision(config.child("vision_config"), hidden)
    card = _read_card(checkpoint)
    return ModelSpec(
        name=name or checkpoint.resolve().name,
        license=card.get("license", ""),
        base_model=card.get("base_model", ""),
        hidden_size=hidden,
        intermediate_size=text.integer("intermediate_size"),
        layers=text.integer("num_hidden_layers", high=1024),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=text.integer("vocab_size"),
        rope_theta=theta,
        mrope_section=section,
        norm_eps=text.number("rms_norm_eps", 1e-5),
        tied=_read_tied(config, text, has_head),
        context=text.integer("max_position_embeddings", 32_768),
        vision=vision,
    )


def _require_silu(config: JsonObject) -> None:
    activation = config.string("hidden_act", "silu")
    if activation != "silu":
        raise CheckpointError(f"{config.where}: hidden_act {activation!r} is not supported")


def _read_rope(text: JsonObject, head_dim: int) -> tuple[float, tuple[int, int, int]]:
    key = "rope_parameters" if "rope_parameters" in text else "rope_scaling"
    rope = text.child(key)
    kind = rope.string("rope_type", rope.string("type", "default"))
    if kind not in ("default", "mrope"):
        raise CheckpointError(f"{rope.where}: rope type {kind!r} is not supported")
    default = text.number("rope_theta", 1_000_000.0)
    section = rope.integers("mrope_section", (16, 24, 24))
    if len(section) != 3 or sum(section) * 2 != head_dim:
        raise CheckpointError(
            f"{rope.where}: mrope_section {list(section)} must be three numbers that sum to half "
            f"the head_dim {head_dim}"
        )
    return rope.number("rope_theta", default), (section[0], section[1], section[2])


def _read_tied(config: JsonObject, text: JsonObject, has_head: bool) -> bool:
    declared = [c.boolean("tie_word_embeddings") for c in (config, text) if _says_tied(c)]
    return any(declared) if declared else not has_head


def _says_tied(config: JsonObject) -> bool:
    return "tie_word_embeddings" in config


def _read_vision(vision: JsonObject, hidden: int) -> VisionSpec:
    _require_silu(vision)
    theta = vision.child("rope_parameters").number("rope_theta", VISION_ROPE_THETA)
    if theta != VISION_ROPE_THETA:
        raise CheckpointError(f"{vision.where}: a rope_theta of {theta} is not supported")
    width, heads = vision.integer("hidden_size"), vision.integer("num_heads")
    if width % heads or (width // heads) % 4:
        raise CheckpointError(
            f"{vision.where}: hidden_size {width} must be a multiple of 4 x {heads} heads"
        )
    depth = vision.integer("depth", high=1024)
    full = vision.integers("fullatt_block_indexes", (7, 15, 23, 31))
    channels = vision.integer("in_channels", vision.integer("in_chans", 3, high=16), high=16)
    spec = VisionSpec(
        hidden_size=width,
        intermediate_size=vision.integer("intermediate_size"),
        depth=depth,
        heads=heads,
        window_size=vision.integer("window_size", 112, high=1 << 16),
        full_attention_blocks=tuple(sorted(set(full))),
        out_hidden_size=vision.integer("out_hidden_size", hidden),
        patch_size=vision.integer("patch_size", 14, high=256),
        temporal_patch_size=vision.integer("temporal_patch_size", 2, high=16),
        merge_size=vision.integer("spatial_merge_size", 2, high=16),
        in_channels=channels,
    )
    if spec.out_hidden_size != hidden:
        raise CheckpointError(
            f"{vision.where}: out_hidden_size {spec.out_hidden_size} must equal the text model's "
            f"hidden_size {hidden}"
        )
    if spec.window_size < spec.patch_size * spec.merge_size:
        raise CheckpointError(
            f"{vision.where}: window_size {spec.window_size} is smaller than one visual token"
        )
    return spec


def _read_card(checkpoint: Path) -> dict[str, str]:
    """License and base model from the front matter of the model card, if it has any."""
    path = checkpoint / "README.md"
    if not path.is_file() or path.stat().st_size > 1 << 20:
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---"):
        return {}
    front = text.split("---", 2)[1]
    found = re.findall(r"^(license|base_model):[ \t]*[\"']?([\w./+-]+)", front, re.MULTILINE)
    return dict(found)
