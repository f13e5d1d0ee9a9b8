"""Keys of both GGUF files: what the loaders need, and what people and hubs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from awares_edge._version import __version__
from awares_edge.checkpoint.json_object import JsonObject
from awares_edge.export.gguf.limits import window_pattern
from awares_edge.export.gguf.vocabulary import Vocabulary
from awares_edge.protocol.tokenizer import SpecialTokens
from awares_edge.runtimes.llamacpp.files import PROJECTOR, VISION_PREFIX
from awares_edge.spec import ModelSpec
from awares_edge.vision.patches import Preprocessing

if TYPE_CHECKING:
    from gguf import GGUFWriter

# The loader wants some size for its warm-up; pictures of any size are taken.
_IMAGE_SIZE = 560
_VISION_EPS = 1e-6
_MAX_TEMPLATE_BYTES = 1 << 20


def size_label(parameters: int) -> str:
    """Parameters in llama.cpp's short form: "7.6B", "494M", "4.3M"."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= unit:
            number = parameters / unit
            return f"{number:.1f}{letter}" if number < 10 else f"{number:.0f}{letter}"
    return str(parameters)


def add_general(writer: GGUFWriter, spec: ModelSpec, parameters: int, file_type: int) -> None:
    """Keys that describe a file to people."""
    writer.add_name(spec.name)
    writer.add_basename(spec.name)
    writer.add_size_label(size_label(parameters))
    if spec.license:
        writer.add_license(spec.license)
    if spec.base_model:
        organization, _, name = spec.base_model.rpartition("/")
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, name)
        if organization:
            writer.add_base_model_organization(0, organization)
            writer.add_base_model_repo_url(0, f"https://huggingface.co/{spec.base_model}")
    writer.add_tags(["image-text-to-text"])
    writer.add_quantized_by(f"awares-edge {__version__}")
    writer.add_quantization_version(2)
    writer.add_file_type(file_type)


def add_text(
    writer: GGUFWriter,
    spec: ModelSpec,
    vocabulary: Vocabulary,
    special: SpecialTokens,
    template: str | None,
    end_of_text: int | None,
) -> None:
    """Keys of the text model and its tokenizer."""
    writer.add_type("model")
    writer.add_block_count(spec.layers)
    writer.add_context_length(spec.context)
    writer.add_embedding_length(spec.hidden_size)
    writer.add_feed_forward_length(spec.intermediate_size)
    writer.add_head_count(spec.heads)
    writer.add_head_count_kv(spec.kv_heads)
    writer.add_rope_dimension_sections([*spec.mrope_section, 0])
    writer.add_rope_freq_base(spec.rope_theta)
    writer.add_layer_norm_rms_eps(spec.norm_eps)

    writer.add_tokenizer_model("gpt2")
    if vocabulary.exact:
        # Left out, llama.cpp warns that it does not know how to cut text.
        writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(special.im_end)
    filler = special.im_end if end_of_text is None else end_of_text
    writer.add_pad_token_id(filler)
    writer.add_bos_token_id(filler)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)


def add_vision(writer: GGUFWriter, spec: ModelSpec, preprocessing: Preprocessing) -> None:
    """Keys of the vision tower."""
    v = spec.vision
    writer.add_type(VISION_PREFIX)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(PROJECTOR)
    writer.add_vision_use_silu(True)
    writer.add_vision_projection_dim(v.out_hidden_size)
    writer.add_vision_image_size(_IMAGE_SIZE)
    writer.add_vision_patch_size(v.patch_size)
    writer.add_vision_embedding_length(v.hidden_size)
    writer.add_vision_feed_forward_length(v.intermediate_size)
    writer.add_vision_block_count(v.depth)
    writer.add_vision_head_count(v.heads)
    writer.add_vision_n_wa_pattern(window_pattern(v))
    writer.add_vision_spatial_merge_size(v.merge_size)
    writer.add_vision_attention_layernorm_eps(_VISION_EPS)
    writer.add_vision_image_mean(list(preprocessing.image_mean))
    writer.add_vision_image_std(list(preprocessing.image_std))


def read_template(checkpoint: Path) -> str | None:
    """The checkpoint's chat template, wherever its version of transformers put it."""
    jinja = checkpoint / "chat_template.jinja"
    if jinja.is_file() and jinja.stat().st_size <= _MAX_TEMPLATE_BYTES:
        return jinja.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        template = JsonObject.read(checkpoint / name, required=False).data.get("chat_template")
        if isinstance(template, str):
            return template
    return None
