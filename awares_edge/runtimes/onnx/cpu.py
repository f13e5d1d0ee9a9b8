"""What the CPU can do, as far as onnxruntime's int8 products depend on it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_X86 = ("x86_64", "amd64", "i386", "i686")
_VNNI = {"avx512_vnni", "avx_vnni"}
_INFO = Path("/proc/cpuinfo")


@cache
def features() -> frozenset[str]:
    """Names of the CPU's instruction sets, of all its cores; empty where they are not known."""
    try:
        lines = _INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    found: set[str] = set()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):  # x86, Arm
            found.update(value.split())
    return frozenset(found)


def overflows() -> bool:
    """Whether products of uint8 and int8 numbers may overflow: on an x86 CPU without VNNI, whose
    AVX2 instruction adds pairs of them in 16 bits. True where it is not known."""
    return platform.machine().lower() in _X86 and not features() & _VNNI
