"""Energy, heat and memory, read from /sys and /proc. `root` is another folder in tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

from awares_edge.evaluation.machine import SYSTEM

_SAMPLES_A_SECOND = 50
# Rails that do not measure power of their own.
_SKIPPED_RAILS = ("NC", "sum of shunt voltages")
# Rails that hold all the others.
_TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")


class Meter(Protocol):
    """Something that measures energy.

    Attributes:
        source: what it reads, for people.
    """

    source: str

    def start(self) -> None: ...

    def stop(self) -> float:
        """Joules since `start`."""
        ...


def find_meter(root: Path = SYSTEM) -> tuple[Meter | None, str]:
    """The machine's energy meter, or None and the reason why there is none."""
    if rails := _rails(root):
        return RailMeter(rails), ""
    domains = [
        path
        for path in sorted(root.glob("sys/class/powercap/*rapl:*"))
        if path.name.count(":") == 1 and (_read(path / "name") or "").startswith("package")
    ]
    if not domains:
        return None, "no energy sensor here (RAPL or INA)"
    if any(_integer(path / "energy_uj") is None for path in domains):
        return None, f"{domains[0] / 'energy_uj'} is readable for the superuser only"
    return RaplMeter(domains), ""


class RaplMeter:
    """Intel's and AMD's energy counters of all processor packages."""

    def __init__(self, domains: list[Path]) -> None:
        self.source = f"RAPL, {len(domains)} package" + "s" * (len(domains) > 1)
        self._domains = domains
        self._before: list[int] = []

    def start(self) -> None:
        self._before = self._now()

    def stop(self) -> float:
        spent = 0
        for path, before, after in zip(self._domains, self._before, self._now(), strict=True):
            if after < before:  # the counter has wrapped
                after += _integer(path / "max_energy_range_uj") or 0
            spent += max(0, after - before)
        return spent / 1e6

    def _now(self) -> list[int]:
        return [_integer(path / "energy_uj") or 0 for path in self._domains]


@dataclass(frozen=True, slots=True)
class Rail:
    """A measured supply: millivolts and milliamperes."""

    label: str
    voltage: Path
    current: Path

    def watts(self) -> float:
        return (_integer(self.voltage) or 0) * (_integer(self.current) or 0) / 1e6


class RailMeter:
    """A Jetson's INA sensors: power, sampled and summed over time."""

    def __init__(self, rails: list[Rail]) -> None:
        self.source = f"INA, {', '.join(rail.label for rail in rails)}"
        self._rails = rails
        self._stop = threading.Event()
        self._joules = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._joules = 0.0
        self._stop.clear()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        return self._joules

    def _sample(self) -> None:
        before, watts = monotonic(), self._watts()
        stopped = False
        while not stopped:
            stopped = self._stop.wait(1 / _SAMPLES_A_SECOND)
            now, now_watts = monotonic(), self._watts()
            self._joules += (now - before) * (watts + now_watts) / 2
            before, watts = now, now_watts

    def _watts(self) -> float:
        return sum(rail.watts() for rail in self._rails)


def _rails(root: Path) -> list[Rail]:
    """The rail that holds all others, or else every rail."""
    rails = []
    for label_file in sorted(root.glob("sys/bus/i2c/devices/*/hwmon/hwmon*/in*_label")):
        label, number = _read(label_file), label_file.name[2 : -len("_label")]
        folder = label_file.parent
        current = folder / f"curr{number}_input"
        if label and label not in _SKIPPED_RAILS and current.exists():
            rails.append(Rail(label, folder / f"in{number}_input", current))
    return [rail for rail in rails if rail.label in _TOTAL_RAILS][:1] or rails


@dataclass(frozen=True, slots=True)
class Heat:
    """The machine's state at one moment; None for what it does not say.

    Attributes:
        celsius: the hottest thermal zone.
        mhz: mean clock of the processors.
        throttled: how often the processors have been slowed down for heat, since the start.
    """

    celsius: float | None
    mhz: float | None
    throttled: int | None


def read_heat(root: Path = SYSTEM) -> Heat:
    """Temperature, clock and throttling now."""
    cpus = "sys/devices/system/cpu/cpu*"
    zones = _integers(root, "sys/class/thermal/thermal_zone*/temp")
    clocks = _integers(root, f"{cpus}/cpufreq/scaling_cur_freq")
    counts = _integers(root, f"{cpus}/thermal_throttle/*_throttle_count")
    # Zones that are switched off say nonsense, such as -256 degrees.
    zones = [zone for zone in zones if -40_000 < zone < 150_000]
    return Heat(
        max(zones) / 1e3 if zones else None,
        sum(clocks) / len(clocks) / 1e3 if clocks else None,
        sum(counts) if counts else None,
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of this process in bytes; None where the system does not say.

    Attributes:
        peak: most that was resident at once.
        resident: resident now.
        anonymous: of it, what no file backs, so that it cannot be dropped and read again.
    """

    peak: int | None
    resident: int | None
    anonymous: int | None


def read_memory(root: Path = SYSTEM) -> Memory:
    """Memory of this process now."""
    found = {}
    for line in (_read(root / "proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[-1] == "kB":
            found[name] = int(words[0]) * 1024
    return Memory(found.get("VmHWM"), found.get("VmRSS"), found.get("RssAnon"))


def _integers(root: Path, pattern: str) -> list[int]:
    values = (_integer(path) for path in root.glob(pattern))
    return [value for value in values if value is not None]


def _integer(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
