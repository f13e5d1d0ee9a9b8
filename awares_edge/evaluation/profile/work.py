"""How much arithmetic and memory traffic a phase needs at least, from the model's shape.

A product of [m, k] and [k, n] counts 2·m·k·n operations; norms, activations and the rotation of
positions are left out, which is below one percent. A decoding step reads every weight of the text
model once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awares_edge.bundle.store import Bundle
from awares_edge.spec import MANIFEST_NAME, ModelSpec, VisionSpec

# Bytes of a weight as it is computed with on a CPU, where the files do not say so.
_WEIGHT_BYTES = {
    # fp16 is widened when it is loaded. A 4-bit block of 64 has a float32 scale; at int8+int4 the
    # steps of decoding read the 4-bit weights.
    "onnx": {
        "fp32": 4.0,
        "fp16": 4.0,
        "int8": 1.0,
        "int4": 0.5625,
        "int8+int4": 0.5625,
        "int4-fp16": 0.5625,
        "w8a8": 1.0,
    },
    "torch": {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0},
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a model before it is loaded.

    Attributes:
        spec: its shape.
        text_bytes: size of the text model's file where it is used as it is (GGUF); else None.
    """

    spec: ModelSpec
    text_bytes: int | None = None

    @classmethod
    def read(cls, path: Path) -> Shape:
        """
        Raises:
            AwaresError: there is neither a bundle nor a checkpoint at `path`.
        """
        if (path / MANIFEST_NAME).exists() or not (path / "config.json").is_file():
            manifest = Bundle.open(path, verify=False).manifest
            files = [
                entry.bytes
                for name, entry in manifest.files.items()
                if name.endswith(".gguf") and not name.startswith("mmproj")
            ]
            return cls(manifest.model, sum(files) or None)
        from awares_edge.checkpoint.checkpoint import Checkpoint

        return cls(Checkpoint.open(path).spec)

    def weight_bytes(self, runtime: str, precision: str) -> float | None:
        """Mean bytes of a weight in memory; None for a precision that is not known here."""
        if self.text_bytes is not None:
            embeddings = head_parameters(self.spec) * (1 if self.spec.tied else 2)
            return self.text_bytes / (text_parameters(self.spec) + embeddings)
        return _WEIGHT_BYTES.get(runtime, {}).get(precision)


def is_int8(precision: str) -> bool:
    """Whether products of this precision run on int8 instructions: GGUF's q8_0, q4_k_m, ... too."""
    return precision in ("int8", "int8+int4", "w8a8") or precision.startswith("q")


def text_parameters(spec: ModelSpec) -> int:
    """Weights of the text model's matrix products, its head left out."""
    hidden, width = spec.hidden_size, spec.head_dim
    attention = 2 * hidden * spec.heads * width + 2 * hidden * spec.kv_heads * width
    return spec.layers * (attention + 3 * hidden * spec.intermediate_size)


def head_parameters(spec: ModelSpec) -> int:
    return spec.hidden_size * spec.vocabulary


def prefill_operations(spec: ModelSpec, tokens: int, reused: int) -> float:
    """Of appending `tokens` to a cache of `reused` cells, with logits of the last one."""
    pairs = tokens * reused + tokens * (tokens + 1) / 2
    attention = 4.0 * spec.layers * spec.heads * spec.head_dim * pairs
    return 2.0 * (text_parameters(spec) * tokens + head_parameters(spec)) + attention


def vision_operations(spec: VisionSpec, image_tokens: int) -> float:
    """Of one picture of so many visual tokens in the vision tower."""
    merged = spec.merge_size**2
    patches, hidden = image_tokens * merged, spec.hidden_size
    values = spec.in_channels * spec.temporal_patch_size * spec.patch_size**2
    block = 4 * hidden * hidden + 3 * hidden * spec.intermediate_size
    wide = hidden * merged
    merger = wide * wide + wide * spec.out_hidden_size
    window = min(patches, (spec.window_size // spec.patch_size) ** 2)
    full = len(spec.full_attention_blocks)
    keys = full * patches + (spec.depth - full) * window
    products = patches * (values * hidden + spec.depth * block) + image_tokens * merger
    return 2.0 * products + 4.0 * patches * hidden * keys


def decode_bytes(spec: ModelSpec, steps: int, bytes_a_weight: float) -> float:
    """Read by so many decoding steps."""
    return steps * (text_parameters(spec) + head_parameters(spec)) * bytes_a_weight


def shares(
    shape: Shape, turn: dict[str, Any], limits: dict[str, float], runtime: str, precision: str
) -> dict[str, float]:
    """What share of the machine's own limits each phase of a turn reached, by phase.

    Args:
        turn: as `measure` notes it.
        limits: as `measure_limits` gives them.
    """
    spec = shape.spec
    peak = limits.get("int8_ops" if is_int8(precision) else "fp32_flops")
    # llama.cpp's vision tower stays in floating point whatever the text model is.
    vision_peak = limits.get("fp32_flops") if runtime == "llamacpp" else peak
    found: dict[str, float] = {}
    ms = turn["ms"]
    if vision_peak and (seconds := ms.get("vision", 0.0) / 1e3):
        operations = sum(vision_operations(spec.vision, n) for n in turn["image_tokens"])
        found["vision"] = operations / seconds / vision_peak
    if peak and (seconds := ms.get("prefill", 0.0) / 1e3):
        operations = prefill_operations(spec, turn["prefill_tokens"], turn["reused_tokens"])
        found["prefill"] = operations / seconds / peak
    bytes_a_weight, read = shape.weight_bytes(runtime, precision), limits.get("read_bytes_s")
    seconds = ms.get("decode", 0.0) / 1e3
    if bytes_a_weight and read and seconds and turn["steps"] > 0:
        found["decode"] = decode_bytes(spec, turn["steps"], bytes_a_weight) / seconds / read
    return found
