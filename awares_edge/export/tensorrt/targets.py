"""Devices that engines are built for: what their TensorRT takes, and what fits into their memory.

Every graph is for all versions of its product: TensorRT 10.3 (JetPack 6.1) to 11, TensorRT-RTX from
1.7 on for consumer GPUs. Refusals are by architecture: SM 7.5 has neither bf16 nor int4, and no
float32 matrix product in TensorRT-RTX; fp8 begins with SM 8.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from awares_edge.errors import ExportError

GIB = 1 << 30
_TURING, _ADA = 75, 89
_SMALL = 16
"""GiB: up to this much, there is one profile and no desktop."""
_VISUAL_TOKENS = ((8, 1024), (16, 1280), (32, 2048), (80, 4096))
"""(GiB up to, visual tokens of the largest picture)."""


@dataclass(frozen=True, slots=True)
class Target:
    """A device, or a family of them.

    Attributes:
        name: what `--target` takes.
        title: for people.
        kind: "jetson" and "gpu" run TensorRT, "rtx" runs TensorRT-RTX.
        capability: compute capability, as 87 for SM 8.7.
        gib: memory; of the smallest device of a family. On a Jetson CPU and GPU share it.
        cache_length: default KV cells of a session.
        prefill: most tokens of one call.
    """

    name: str
    title: str
    kind: Literal["jetson", "gpu", "rtx"]
    capability: int
    gib: float
    cache_length: int
    prefill: int

    @property
    def rtx(self) -> bool:
        return self.kind == "rtx"

    @property
    def product(self) -> str:
        return "TensorRT-RTX" if self.rtx else "TensorRT"

    @property
    def tensorrt(self) -> tuple[str, str]:
        """Oldest and newest version of the product."""
        return ("1.7", "1.99") if self.rtx else ("10.3", "11.99")

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it may be exported in; the first one is the default."""
        if self.capability == _TURING:
            return ("fp16", "int8", "w8a8")
        fp8 = ("fp8",) if self.capability >= _ADA else ()
        return ("fp16", "bf16", "fp32", "int8", "int4", "w8a8", *fp8)

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(self.gib * GIB)

    @property
    def reserved(self) -> int:
        """Bytes that the system and the driver keep."""
        if self.kind != "jetson":
            return GIB
        # Ubuntu without a desktop, the camera stack and this process; with a desktop it is more.
        return 3 * GIB // 2 if self.gib <= _SMALL else 3 * GIB

    @property
    def visual_tokens(self) -> int:
        """Of the largest picture given to the vision tower. Without a fused kernel its attention
        scores grow with the square of this, and take up to half of the memory."""
        return next((tokens for gib, tokens in _VISUAL_TOKENS if self.gib <= gib), 8192)

    @property
    def max_pixels(self) -> int:
        """Area of the largest picture."""
        return self.visual_tokens * 28 * 28

    @property
    def decode_profile(self) -> bool:
        """Add a second profile, tuned for one token; in TensorRT-RTX it costs the engine again."""
        return not self.rtx and self.gib > _SMALL


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("orin-nano", "Jetson Orin Nano 8 GB", "jetson", 87, 8, 2048, 512),
        Target("orin-nx", "Jetson Orin NX 16 GB", "jetson", 87, 16, 4096, 1024),
        Target("orin-agx", "Jetson AGX Orin 32 or 64 GB", "jetson", 87, 32, 8192, 1024),
        Target("thor", "Jetson AGX Thor 128 GB", "jetson", 110, 128, 8192, 1024),
        Target("rtx20", "GeForce RTX 20, T4 (Turing)", "rtx", 75, 8, 4096, 1024),
        Target("rtx30", "GeForce RTX 30 (Ampere)", "rtx", 86, 8, 4096, 1024),
        Target("rtx40", "GeForce RTX 40 (Ada)", "rtx", 89, 8, 4096, 1024),
        Target("rtx50", "GeForce RTX 50 (Blackwell)", "rtx", 120, 8, 4096, 1024),
        Target("a100", "A100 40 or 80 GB", "gpu", 80, 40, 16_384, 2048),
        Target("l4", "L4 24 GB", "gpu", 89, 22, 8192, 2048),
        Target("h100", "H100 80 GB", "gpu", 90, 80, 16_384, 2048),
        Target("h200", "H200 141 GB", "gpu", 90, 139, 16_384, 2048),
    )
}


def get_target(name: str) -> Target:
    """
    Raises:
        ExportError: there is no target of this name.
    """
    if name not in TARGETS:
        raise ExportError(f"no target {name!r}: choose one of {', '.join(TARGETS)}")
    return TARGETS[name]


def check_precision(target: Target, precision: str) -> None:
    """
    Raises:
        ExportError: the target's GPU has no arithmetic for the precision.
    """
    if precision not in target.precisions:
        sm = f"{target.capability // 10}.{target.capability % 10}"
        raise ExportError(
            f"{target.title} (SM {sm}) does not take {precision}: choose "
            f"{', '.join(target.precisions)}"
        )
