"""A vision tower's shape without a checkpoint, and a model around it, for tests of arithmetic."""

from awares_edge.spec import ModelSpec, VisionSpec

TINY_VISION = VisionSpec(
    hidden_size=48,
    intermediate_size=80,
    depth=3,
    heads=3,
    window_size=112,
    full_attention_blocks=(1,),
    out_hidden_size=64,
)


def qwen_spec(size: str) -> ModelSpec:
    """Shape of the published Qwen2.5-VL "3B" or "7B"."""
    hidden, inner, layers, heads, kv, vocabulary, tied = {
        "3B": (2048, 11_008, 36, 16, 2, 151_936, True),
        "7B": (3584, 18_944, 28, 28, 4, 152_064, False),
    }[size]
    return ModelSpec(
        name=f"Qwen2.5-VL-{size}",
        license="",
        base_model="",
        hidden_size=hidden,
        intermediate_size=inner,
        layers=layers,
        heads=heads,
        kv_heads=kv,
        head_dim=128,
        vocabulary=vocabulary,
        rope_theta=1e6,
        mrope_section=(16, 24, 24),
        norm_eps=1e-6,
        tied=tied,
        context=128_000,
        vision=VisionSpec(
            hidden_size=1280,
            intermediate_size=3420,
            depth=32,
            heads=16,
            window_size=112,
            full_attention_blocks=(7, 15, 23, 31),
            out_hidden_size=hidden,
        ),
    )
