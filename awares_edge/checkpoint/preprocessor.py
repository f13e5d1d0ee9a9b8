"""What a checkpoint folder says about pixels and about the end of an answer (only JSON is read)."""

from __future__ import annotations

from pathlib import Path

from awares_edge.checkpoint.json_object import JsonObject
from awares_edge.errors import CheckpointError
from awares_edge.vision.patches import Preprocessing

_BICUBIC = 3


def read_preprocessing(checkpoint: Path) -> Preprocessing:
    """Patch rules and normalisation from `preprocessor_config.json` (or `processor_config.json`).

    Pixel limits are not read: the protocol profile pins them.

    Raises:
        CheckpointError: the file is malformed, or asks for rules other than Qwen2.5-VL's.
    """
    config = JsonObject.read(checkpoint / "preprocessor_config.json", required=False)
    if not config.data:
        whole = JsonObject.read(checkpoint / "processor_config.json", required=False)
        config = whole.child("image_processor")
    default = Preprocessing()
    for switch in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"):
        if not config.boolean(switch, True):
            raise CheckpointError(f"{config.where}: {switch} is off, but Qwen2.5-VL needs it")
    if config.integer("resample", _BICUBIC, low=0) != _BICUBIC:
        raise CheckpointError(f"{config.where}: only bicubic resampling (3) is supported")
    if abs(config.number("rescale_factor", 1 / 255) - 1 / 255) > 1e-9:
        raise CheckpointError(f"{config.where}: only a rescale_factor of 1/255 is supported")
    red, green, blue = config.numbers("image_mean", default.image_mean, 3)
    red_std, green_std, blue_std = config.numbers("image_std", default.image_std, 3)
    return Preprocessing(
        patch_size=config.integer("patch_size", default.patch_size, high=256),
        temporal_patch_size=config.integer(
            "temporal_patch_size", default.temporal_patch_size, high=16
        ),
        merge_size=config.integer("merge_size", default.merge_size, high=16),
        image_mean=(red, green, blue),
        image_std=(red_std, green_std, blue_std),
    )


def read_eos(checkpoint: Path) -> tuple[int, ...]:
    """Ids that end an answer: `generation_config.json` first, else `config.json`.

    Raises:
        CheckpointError: a file is malformed.
    """
    generation = JsonObject.read(checkpoint / "generation_config.json", required=False)
    if "eos_token_id" in generation:
        return generation.integers("eos_token_id")
    config = JsonObject.read(checkpoint / "config.json")
    for place in (config, config.child("text_config")):
        if "eos_token_id" in place:
            return place.integers("eos_token_id")
    return ()
