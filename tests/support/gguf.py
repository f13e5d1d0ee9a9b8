"""Tiny checkpoints that GGUF can hold, and the bundles made of them."""

from dataclasses import replace

from awares_edge.export import GgufFormat, export_checkpoint
from awares_edge.protocol import PROFILES
from tests.support.checkpoints import SHAPES, make_checkpoint

# llama.cpp allows full-attention vision blocks only at equal distances.
GGUF_SHAPES = {
    "untied": SHAPES["untied"],
    "tied": replace(SHAPES["tied"], full_attention=(1, 3)),
    "wide": SHAPES["wide"],
    # Every vision block attends to the whole picture.
    "full": replace(SHAPES["untied"], full_attention=(0, 1, 2)),
}
# The nano model's text shape: head_dim 32, one frequency for t, three for h, twelve for w.
NANO = replace(
    GGUF_SHAPES["tied"], hidden=192, heads=6, kv_heads=2, intermediate=512,
    rope_theta=100.0, mrope_section=(1, 3, 12), vision_hidden=96, vision_heads=3,
    vision_intermediate=224, full_attention=(3,),
)  # fmt: skip


def export_gguf(checkpoint, bundle, precision="f32", *, profile="paper", **options):
    format = GgufFormat(precision=precision, **options)
    profile = PROFILES[profile]
    return export_checkpoint(
        checkpoint, bundle, format=format, profile=profile, overwrite=True
    ).root


def make_bundle(root, shape="tied", precision="f32", **keywords):
    """A checkpoint in root/"checkpoint" and its bundle in root/precision."""
    shape = GGUF_SHAPES[shape] if isinstance(shape, str) else shape
    checkpoint = root / "checkpoint"
    if not checkpoint.exists():
        make_checkpoint(checkpoint, shape, seed=1, **keywords)
    return export_gguf(checkpoint, root / precision, precision)
