"""What a measurement ran on: machine, cores, power mode, governor, versions."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from awares_edge._version import __version__
from awares_edge.bundle.store import hash_file
from awares_edge.runtimes.threads import cores
from awares_edge.spec import MANIFEST_NAME

SYSTEM = Path("/")

_PACKAGES = (
    "numpy", "onnxruntime", "onnxruntime-gpu", "llama-cpp-python", "tensorrt", "tensorrt-rtx",
    "torch", "transformers",
)  # fmt: skip


def manifest_sha256(path: Path) -> str | None:
    """Hash of a bundle's manifest, which holds the hash of every file; None without a manifest."""
    manifest = path / MANIFEST_NAME
    return hash_file(manifest).sha256 if manifest.is_file() else None


def versions() -> dict[str, str]:
    """Versions of this package, Python, and the installed packages that compute."""
    found = {"awares-edge": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe_machine(root: Path = SYSTEM) -> dict[str, Any]:
    """The machine, as far as it says. What it does not say is None.

    Args:
        root: where /proc and /sys are found; another folder in tests.
    """
    return {
        "board": _text(root / "proc/device-tree/model"),
        "cpu": _cpu(root) or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": cores(),
        "memory_mb": _memory_mb(root),
        "system": platform.platform(terse=True),
        "governor": governor(root),
        "power_mode": power_mode(root),
    }


def governor(root: Path = SYSTEM) -> str | None:
    """The CPU frequency governors in force, such as "performance"."""
    names = sorted(
        {
            name
            for path in root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
            if (name := _text(path))
        }
    )
    return ", ".join(names) or None


def power_mode(root: Path = SYSTEM) -> str | None:
    """A Jetson's power mode (`nvpmodel -q`), or the platform profile of a laptop."""
    if (profile := _text(root / "sys/firmware/acpi/platform_profile")) is not None:
        return profile
    if root != SYSTEM or (program := shutil.which("nvpmodel")) is None:
        return None
    try:
        done = subprocess.run(
            [program, "-q"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [line.split(":", 1)[1] for line in done.stdout.splitlines() if ":" in line]
    return lines[0].strip() if lines else None


def load_average() -> float | None:
    """Mean number of runnable processes of the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _cpu(root: Path) -> str | None:
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return None


def _memory_mb(root: Path) -> int | None:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024 // 1_000_000
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(errors="replace").strip("\0\n ") or None
    except OSError:
        return None
