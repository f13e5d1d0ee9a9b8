"""Checks that memory is available before llama.cpp allocates it: a failed allocation can crash."""

from __future__ import annotations

from pathlib import Path

from awares_edge.errors import ImageError, RuntimeUnavailable
from awares_edge.spec import ModelSpec
from awares_edge.vision.geometry import Grid

_MEMINFO = Path("/proc/meminfo")


def cache_bytes(spec: ModelSpec, cells: int, *, exact: bool) -> int:
    """Bytes of keys and values of `cells` cells."""
    return spec.kv_values * cells * (4 if exact else 2)


def require_memory(spec: ModelSpec, cells: int, *, exact: bool, gpu: bool) -> None:
    """
    Raises:
        RuntimeUnavailable: the cache does not fit into the available memory.
    """
    needed, available = cache_bytes(spec, cells, exact=exact), available_bytes()
    # With layers on a discrete GPU the cache is there: llama.cpp says whether it fits.
    if not gpu and available is not None and needed > available:
        raise RuntimeUnavailable(
            f"a context of {cells} tokens needs {needed / 1e9:.1f} GB of memory, "
            f"{available / 1e9:.1f} GB are available: use a smaller context"
        )


def vision_bytes(patches: int, heads: int, *, exact: bool) -> int:
    """Bytes that llama.cpp's vision tower takes for a picture, besides its weights.

    Its windows are a mask over all pairs of patches, and without flash attention each head has
    scores for all pairs too. Measured up to 16,384 patches: 8.5 and 28 bytes a pair (6 heads).
    """
    return patches**2 * (8 + 4 * heads if exact else 9)


def require_vision_memory(grid: Grid, heads: int, *, exact: bool, held: int) -> int:
    """Bytes that this picture takes.

    Args:
        held: bytes that the tower holds already, from larger pictures before.

    Raises:
        ImageError: that much memory is not available.
    """
    needed, available = vision_bytes(grid.patches, heads, exact=exact), available_bytes()
    if available is not None and needed > held + available:
        raise ImageError(
            f"a picture of {grid.tokens} visual tokens needs {needed / 1e9:.1f} GB in llama.cpp's "
            f"vision tower, {(held + available) / 1e9:.1f} GB are available: use a smaller picture"
        )
    return needed


def available_bytes(meminfo: Path = _MEMINFO) -> int | None:
    """Bytes of memory available without swapping; None where the system does not say."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
