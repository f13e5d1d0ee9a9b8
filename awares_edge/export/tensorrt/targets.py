"""Devices that engines are built for: what their TensorRT takes, and what fits into their memory.

Versions: JetPack 6.1/6.2 (Orin) has TensorRT 10.3, JetPack 7.1 (Thor) 10.13, JetPack 7.2 10.16 and
later 11. Consumer GPUs use TensorRT-RTX. Refusals are by architecture: SM 7.5 has neither bf16 nor
int4, and no float32 matrix product in TensorRT-RTX; fp8 begins with SM 8.9.
"""

from __future__ import annotations

from dataclasses import dataclass

from awares_edge.errors import ExportError
from awares_edge.export.tensorrt.formats import FormName

GIB = 1 << 30
_OLD, _NEW = ("10.3", "10.14"), ("10.15", "11.99")
_RTX = ("1.7", "1.99")
_ALL = ("fp16", "bf16", "fp32", "int8", "int4", "w8a8")


@dataclass(frozen=True, slots=True)
class Target:
    """A device, or a family of them.

    Attributes:
        name: what `--target` takes.
        title: for people.
        tensorrt: oldest and newest version of the product.
        rtx: the product is TensorRT-RTX.
        capabilities: compute capabilities, as 87 for SM 8.7.
        precisions: what it may be exported in; the first one is the default.
        memory: bytes; of the smallest device of a family. On a Jetson CPU and GPU share it.
        reserved: bytes that the system and the driver keep.
        cache_length: default KV cells of a session.
        prefill: tokens of one call.
        max_pixels: of every picture given to the vision tower.
        decode_profile: a second profile, tuned for one token; it costs up to the engine again.
    """

    name: str
    title: str
    tensorrt: tuple[str, str]
    rtx: bool
    capabilities: tuple[int, ...]
    precisions: tuple[str, ...]
    memory: int
    reserved: int
    cache_length: int
    prefill: int
    max_pixels: int
    decode_profile: bool

    @property
    def form(self) -> FormName:
        return "trt-legacy" if self.tensorrt == _OLD else "trt-kv"

    @property
    def product(self) -> str:
        return "TensorRT-RTX" if self.rtx else "TensorRT"


def _jetson(
    name: str, title: str, tensorrt: tuple[str, str], sm: int, memory: int, **sizes: int
) -> Target:
    precisions = _ALL if sm == 87 else (*_ALL, "fp8")
    return Target(
        name=name,
        title=title,
        tensorrt=tensorrt,
        rtx=False,
        capabilities=(sm,),
        precisions=precisions,
        memory=memory * GIB,
        # Ubuntu without a desktop, the camera stack and this process; with a desktop it is more.
        reserved=3 * GIB // 2 if memory <= 16 else 3 * GIB,
        cache_length=sizes["cells"],
        prefill=sizes["prefill"],
        max_pixels=sizes["tokens"] * 28 * 28,
        decode_profile=memory > 16,
    )


def _gpu(
    name: str,
    title: str,
    sm: int,
    memory: int,
    *,
    rtx: bool,
    cells: int,
    tokens: int,
    precisions: tuple[str, ...] = _ALL,
) -> Target:
    return Target(
        name=name,
        title=title,
        tensorrt=_RTX if rtx else _NEW,
        rtx=rtx,
        capabilities=(sm,),
        precisions=precisions,
        memory=memory * GIB,
        reserved=GIB,
        cache_length=cells,
        prefill=1024 if memory <= 16 else 2048,
        max_pixels=tokens * 28 * 28,
        decode_profile=not rtx,
    )


_NANO = {"cells": 2048, "prefill": 512, "tokens": 1024}
_NX = {"cells": 4096, "prefill": 1024, "tokens": 1280}
_AGX = {"cells": 8192, "prefill": 1024, "tokens": 2048}
_JP6, _JP7 = "JetPack 6", "JetPack 7.2"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _jetson("orin-nano", f"Jetson Orin Nano 8 GB, {_JP6}", _OLD, 87, 8, **_NANO),
        _jetson("orin-nx", f"Jetson Orin NX 16 GB, {_JP6}", _OLD, 87, 16, **_NX),
        _jetson("orin-agx", f"Jetson AGX Orin 32 or 64 GB, {_JP6}", _OLD, 87, 32, **_AGX),
        _jetson("orin-nano-jp7", f"Jetson Orin Nano 8 GB, {_JP7}", _NEW, 87, 8, **_NANO),
        _jetson("orin-nx-jp7", f"Jetson Orin NX 16 GB, {_JP7}", _NEW, 87, 16, **_NX),
        _jetson("orin-agx-jp7", f"Jetson AGX Orin 32 or 64 GB, {_JP7}", _NEW, 87, 32, **_AGX),
        _jetson("thor", "Jetson AGX Thor 128 GB, JetPack 7.1", _OLD, 110, 128, **_AGX),
        _jetson("thor-jp72", f"Jetson AGX Thor 128 GB, {_JP7}", _NEW, 110, 128, **_AGX),
        _gpu(
            *("rtx20", "GeForce RTX 20, T4 (Turing)", 75, 8),
            rtx=True,
            cells=4096,
            tokens=1024,
            precisions=("fp16", "int8", "w8a8"),
        ),
        _gpu("rtx30", "GeForce RTX 30 (Ampere)", 86, 8, rtx=True, cells=4096, tokens=1280),
        _gpu(
            *("rtx40", "GeForce RTX 40 (Ada)", 89, 8),
            rtx=True,
            cells=4096,
            tokens=2048,
            precisions=(*_ALL, "fp8"),
        ),
        _gpu(
            *("rtx50", "GeForce RTX 50 (Blackwell)", 120, 8),
            rtx=True,
            cells=4096,
            tokens=2048,
            precisions=(*_ALL, "fp8"),
        ),
        _gpu("a100", "A100 40 or 80 GB", 80, 40, rtx=False, cells=16_384, tokens=16_384),
        _gpu(
            *("l4", "L4 24 GB", 89, 22),
            rtx=False,
            cells=8192,
            tokens=4096,
            precisions=(*_ALL, "fp8"),
        ),
        _gpu(
            *("h100", "H100 80 GB", 90, 80),
            rtx=False,
            cells=16_384,
            tokens=16_384,
            precisions=(*_ALL, "fp8"),
        ),
        _gpu(
            *("h200", "H200 141 GB", 90, 139),
            rtx=False,
            cells=16_384,
            tokens=16_384,
            precisions=(*_ALL, "fp8"),
        ),
    )
}


def get_target(name: str) -> Target:
    """
    Raises:
        ExportError: there is no target of this name.
    """
    try:
        return TARGETS[name]
    except KeyError:
        raise ExportError(f"no target {name!r}: choose one of {', '.join(TARGETS)}") from None


def check_precision(target: Target, precision: str) -> None:
    """
    Raises:
        ExportError: the target's GPU has no arithmetic for the precision.
    """
    if precision in target.precisions:
        return
    sm = "/".join(f"{sm // 10}.{sm % 10}" for sm in target.capabilities)
    raise ExportError(
        f"{target.title} (SM {sm}) does not take {precision}: choose {', '.join(target.precisions)}"
    )
