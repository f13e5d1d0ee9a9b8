"""The build plan of a TensorRT bundle: what `export` decided and `build-engine` carries out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from awares_edge.bundle.schema import read_dataclass
from awares_edge.bundle.store import Bundle
from awares_edge.errors import BundleError

PLAN_NAME = "tensorrt-plan.json"
_VERSION = 1
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Range:
    """Shape limits of one dynamic dimension: smallest, the one tuned for, largest."""

    min: int
    opt: int
    max: int

    def check(self, name: str) -> None:
        """
        Raises:
            BundleError: the three are not in order.
        """
        if not 1 <= self.min <= self.opt <= self.max:
            raise BundleError(f"{PLAN_NAME}: {name} must hold 1 <= min <= opt <= max")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build.

    Attributes:
        target: name of the recipe ("orin-nano", "rtx40", ...).
        form: graph form.
        compute: "fp32", "fp16" or "bf16": of the cache and the activations.
        weights: "float", "int8", "int4" or "fp8" linear layers.
        activations: "int8" or "fp8" where the linear layers' inputs are quantized too.
        tensorrt: oldest and newest version that the graphs are for, as "10.3" and "10.14".
        rtx: build with TensorRT-RTX.
        capabilities: compute capabilities of the target, as 87 for SM 8.7.
        cache_length: KV cells of a session.
        prefill: tokens of one call; longer prompts are cut into such pieces.
        decode_profile: a second profile of one token, tuned for decoding.
        kept: most rows of logits of one call.
        patches: limits of the vision tower's input.
        windows: most attention windows of a picture.
        memory: estimated bytes, for people: "text", "vision", "caches", "activations" (together
            what it takes to run) and "build" (the peak of the build).
    """

    target: str
    form: Literal["trt-kv", "trt-legacy"]
    compute: Literal["fp32", "fp16", "bf16"]
    weights: Literal["float", "int8", "int4", "fp8"]
    tensorrt: tuple[str, str]
    rtx: bool
    capabilities: tuple[int, ...]
    cache_length: int
    prefill: Range
    decode_profile: bool
    kept: int
    patches: Range
    windows: int
    merge_size: int
    activations: Literal["float", "int8", "fp8"] = "float"
    memory: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """
        Raises:
            BundleError: not a plan of this version.
        """
        try:
            body = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{PLAN_NAME} is not JSON: export the bundle again") from error
        if not isinstance(body, dict) or body.pop("version", None) != _VERSION:
            raise BundleError(f"{PLAN_NAME} is of another version: export the checkpoint again")
        plan = read_dataclass(cls, body, PLAN_NAME)
        plan.prefill.check("prefill")
        plan.patches.check("patches")
        if plan.cache_length < plan.prefill.max or plan.kept < 1 or plan.windows < 1:
            raise BundleError(f"{PLAN_NAME}: cache_length, kept or windows are out of range")
        return plan

    @classmethod
    def read(cls, bundle: Bundle) -> Plan:
        """The plan in a bundle.

        Raises:
            BundleError: there is none, or it cannot be used.
        """
        path: Path = bundle.path(PLAN_NAME)
        if path.stat().st_size > _MAX_BYTES:
            raise BundleError(f"{path} is too large for a plan: export the bundle again")
        return cls.from_json(path.read_text(encoding="utf-8"))

    def describe_memory(self) -> str:
        """What it takes to run and to build, in GiB; empty where it is not known."""
        if not self.memory:
            return ""
        build = self.memory.get("build", 0) / (1 << 30)
        run = sum(self.memory.values()) / (1 << 30) - build
        return f"about {run:.1f} GiB to run, {build:.1f} GiB at the peak of the build"

    def text_profiles(self) -> list[dict[str, tuple[Shape, Shape, Shape]]]:
        """(min, opt, max) shapes of the text graph's dynamic inputs, one dict a profile.

        With `decode_profile` the first one is for a single token.
        """
        profiles = [self._text_profile(self.prefill)]
        if self.decode_profile:
            profiles.insert(0, self._text_profile(Range(1, 1, 1)))
        return profiles

    def vision_profile(self, pixels: int, half: int, window: int) -> dict[str, Shapes]:
        """(min, opt, max) shapes of the vision graph's inputs.

        Args:
            pixels: numbers of one patch; half: rotary angles of a patch; window: patches of one
                window.
        """
        p, unit = self.patches, self.merge_size**2
        sizes = (p.min, p.opt, p.max)
        # A picture of few patches can still be long and thin, so any patch count may have few or
        # many windows.
        windows = (1, max(1, min(self.windows, p.opt // window)), self.windows)
        shapes: dict[str, list[Shape]] = {
            "pixel_values": [(n, pixels) for n in sizes],
            "patch_order": [(n,) for n in sizes],
            "token_place": [(n // unit,) for n in sizes],
            "rotary_cos": [(n, half) for n in sizes],
            "rotary_sin": [(n, half) for n in sizes],
            "window_index": [(n, window) for n in windows],
            "window_mask": [(n, 1, window, window) for n in windows],
            "window_places": [(n,) for n in sizes],
        }
        return {name: (low, middle, high) for name, (low, middle, high) in shapes.items()}

    def _text_profile(self, tokens: Range) -> dict[str, Shapes]:
        cells = self.cache_length
        kept = Range(1, 1, min(self.kept, tokens.max))
        behind = (0, 0, 0) if self.form == "trt-kv" else (tokens.min, tokens.opt, tokens.max)
        counts = (tokens.min, tokens.opt, tokens.max)
        shapes: dict[str, list[Shape]] = {
            "inputs_embeds": [(1, n, -1) for n in counts],
            "position_ids": [(3, 1, n) for n in counts],
            "logits_index": [(kept.min,), (kept.opt,), (kept.max,)],
            "attention_mask": [
                (1, 1, n, cells + more) for n, more in zip(counts, behind, strict=True)
            ],
        }
        return {name: (low, middle, high) for name, (low, middle, high) in shapes.items()}


Shape = tuple[int, ...]
Shapes = tuple[Shape, Shape, Shape]


def digest(*parts: Any) -> str:
    """SHA-256 over the canonical JSON of some facts."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
