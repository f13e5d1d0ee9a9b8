"""The build plan of a TensorRT bundle: what `export` decided and `build-engine` carries out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from awares_edge.bundle.schema import read_dataclass
from awares_edge.bundle.store import Bundle
from awares_edge.errors import BundleError, RuntimeUnavailable
from awares_edge.runtimes.tensorrt.device import Gpu
from awares_edge.runtimes.tensorrt.product import TensorRT, version_tuple
from awares_edge.spec import VisionSpec

PLAN_NAME = "tensorrt-plan.json"

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = tuple[Shape, Shape, Shape]
"""Smallest, the one to tune for, largest."""

_VERSION = 1
_FORM = "trt-legacy"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Range:
    """Limits of one dynamic dimension: smallest, the one to tune for, largest."""

    min: int
    opt: int
    max: int

    def check(self, name: str) -> None:
        """
        Raises:
            BundleError: the three are not in ascending order.
        """
        if not 1 <= self.min <= self.opt <= self.max:
            raise BundleError(f"{PLAN_NAME}: {name} must satisfy 1 <= min <= opt <= max")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build.

    Attributes:
        target: name of the device it is for ("orin-nano", "rtx40", ...).
        compute: "fp32", "fp16" or "bf16": of the cache and the activations.
        weights: "float", "int8", "int4" or "fp8": of the linear layers.
        tensorrt: oldest and newest version that the graphs are for, as "10.3" and "10.14".
        rtx: build with TensorRT-RTX.
        capabilities: compute capabilities of the target, as 87 for SM 8.7.
        cache_length: KV cells of a session.
        prefill: tokens of one call; longer prompts are cut into such pieces.
        decode_profile: add an optimization profile for a single token.
        kept: most rows of logits of one call.
        patches: limits of the vision tower's input.
        windows: most attention windows of a picture.
        merge_size: patches along one side of a visual token.
        activations: "int8" or "fp8" where the linear layers' inputs are quantized too.
        memory: estimated bytes, shown to people: "text", "vision", "caches", "activations" (their
            sum is what running takes) and "build" (the peak of the build).
    """

    target: str
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
            raise BundleError(f"{PLAN_NAME} has another version: export the checkpoint again")
        # Plans used to name one of two graph forms.
        if (form := body.pop("form", _FORM)) != _FORM:
            raise BundleError(
                f"{PLAN_NAME}: graphs of the form {form!r} are not supported: export the "
                "checkpoint again"
            )
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

    def check_device(self, trt: TensorRT, gpu: Gpu) -> None:
        """
        Raises:
            RuntimeUnavailable: the graphs are for other versions of TensorRT, or for another GPU.
        """
        low, high = self.tensorrt
        here = version_tuple(trt.version)[:2]
        if not version_tuple(low)[:2] <= here <= version_tuple(high)[:2]:
            raise RuntimeUnavailable(
                f"this bundle is for {trt.product} {low} to {high}, here is {trt.version}: export "
                "the checkpoint for this device's target"
            )
        if gpu.capability not in self.capabilities:
            wanted = " or ".join(f"{sm // 10}.{sm % 10}" for sm in self.capabilities)
            raise RuntimeUnavailable(
                f"this bundle is for {self.target} (SM {wanted}), {gpu.name} has SM "
                f"{gpu.capability // 10}.{gpu.capability % 10}: export the checkpoint for another "
                "target"
            )

    def describe_memory(self) -> str:
        """Memory to run and to build, in GiB; empty where it is not known."""
        if not self.memory:
            return ""
        build = self.memory.get("build", 0) / (1 << 30)
        run = sum(self.memory.values()) / (1 << 30) - build
        return f"about {run:.1f} GiB to run, {build:.1f} GiB at the peak of the build"

    def text_profiles(self) -> list[dict[str, Shapes]]:
        """Shapes of the text graph's dynamic inputs, one dict an optimization profile.

        With `decode_profile` the first one is for a single token.
        """
        profiles = [self._text_profile(self.prefill)]
        if self.decode_profile:
            profiles.insert(0, self._text_profile(Range(1, 1, 1)))
        return profiles

    def vision_profile(self, vision: VisionSpec) -> dict[str, Shapes]:
        """Shapes of the vision graph's inputs."""
        numbers = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        angles = vision.hidden_size // vision.heads // 2
        unit = self.merge_size**2
        window = (vision.window_size // vision.merge_size // vision.patch_size) ** 2 * unit
        patches = (self.patches.min, self.patches.opt, self.patches.max)
        # A picture of few patches can still be long and thin, so any patch count may have few or
        # many windows.
        windows = (1, max(1, min(self.windows, self.patches.opt // window)), self.windows)
        return {
            "pixel_values": _shapes(patches, lambda n: (n, numbers)),
            "patch_order": _shapes(patches, lambda n: (n,)),
            "token_place": _shapes(patches, lambda n: (n // unit,)),
            "rotary_cos": _shapes(patches, lambda n: (n, angles)),
            "rotary_sin": _shapes(patches, lambda n: (n, angles)),
            "window_index": _shapes(windows, lambda n: (n, window)),
            "window_mask": _shapes(windows, lambda n: (n, 1, window, window)),
            "window_places": _shapes(patches, lambda n: (n,)),
        }

    def _text_profile(self, tokens: Range) -> dict[str, Shapes]:
        counts = (tokens.min, tokens.opt, tokens.max)
        kept = (1, 1, min(self.kept, tokens.max))
        return {
            "inputs_embeds": _shapes(counts, lambda n: (1, n, -1)),
            "position_ids": _shapes(counts, lambda n: (3, 1, n)),
            "logits_index": _shapes(kept, lambda n: (n,)),
            "attention_mask": _shapes(counts, lambda n: (1, 1, n, self.cache_length + n)),
        }


def _shapes(sizes: tuple[int, int, int], shape: Callable[[int], Shape]) -> Shapes:
    low, middle, high = sizes
    return shape(low), shape(middle), shape(high)
