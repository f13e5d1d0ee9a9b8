"""How busy the machine is, read from /proc and /sys; None for what it does not say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SYSTEM = Path("/")

_GPU_LOADS = (
    # A Jetson's GPU says per mille, amdgpu per cent.
    ("sys/devices/gpu.0/load", 10.0),
    ("sys/devices/platform/gpu.0/load", 10.0),
    ("sys/devices/platform/bus@0/*.gpu/load", 10.0),
    ("sys/class/drm/card*/device/gpu_busy_percent", 1.0),
)


@dataclass(frozen=True, slots=True)
class Load:
    """The machine at one moment.

    Attributes:
        cpu: busy share of all processors since the reading before, per cent.
        gpu: busy share of the GPU, per cent.
        ram_mb, ram_total_mb: memory in use and in all, of the machine; 10^6 bytes.
        process_mb: memory of this process.
    """

    cpu: float | None
    gpu: float | None
    ram_mb: float | None
    ram_total_mb: float | None
    process_mb: float | None


class LoadMeter:
    """Reads the machine's load. `root` is another folder in tests."""

    def __init__(self, root: Path = SYSTEM) -> None:
        self._root = root
        self._before = self._cpu_times()

    def read(self) -> Load:
        total, free = self._memory()
        used = None if total is None or free is None else total - free
        return Load(self._cpu(), self._gpu(), used, total, self._process())

    def _cpu(self) -> float | None:
        now, before = self._cpu_times(), self._before
        self._before = now
        if now is None or before is None or now[1] <= before[1]:
            return None
        return 100.0 * (now[0] - before[0]) / (now[1] - before[1])

    def _cpu_times(self) -> tuple[int, int] | None:
        """(busy, all) ticks of all processors; proc(5)."""
        words = (_read(self._root / "proc/stat") or "").split("\n", 1)[0].split()
        if len(words) < 6 or words[0] != "cpu":
            return None
        ticks = [int(word) for word in words[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def _gpu(self) -> float | None:
        for pattern, scale in _GPU_LOADS:
            for path in self._root.glob(pattern):
                text = _read(path)
                if text and text.isdigit():
                    return int(text) / scale
        return None

    def _memory(self) -> tuple[float | None, float | None]:
        found = {}
        for line in (_read(self._root / "proc/meminfo") or "").splitlines():
            name, _, value = line.partition(":")
            found[name] = int(value.split()[0]) * 1024 / 1e6
        return found.get("MemTotal"), found.get("MemAvailable")

    def _process(self) -> float | None:
        words = (_read(self._root / "proc/self/statm") or "").split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if len(words) > 1 else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
