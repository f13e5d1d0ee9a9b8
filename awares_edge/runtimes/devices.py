"""Device names: one grammar for all runtimes, "kind" or "kind:index"."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from awares_edge.errors import InputError, RuntimeUnavailable

# torch itself keeps 8 bits of an index, and would take cuda:256 for cuda:0.
_NAME = re.compile(r"([a-z]+)(?::(0|[1-9][0-9]{0,3}))?")
_UNNUMBERED = ("cpu", "metal")


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model computes.

    Attributes:
        kind: "cpu", "cuda", "tensorrt" (onnxruntime's provider), "metal", "vulkan", ...
        index: which of the machine's.
    """

    kind: str
    index: int = 0

    @classmethod
    def parse(cls, text: str, kinds: Sequence[str]) -> Device:
        """Read a name such as "cpu", "cuda", "cuda:1".

        Args:
            kinds: what the runtime knows.

        Raises:
            InputError: not a device name of this runtime.
        """
        match = _NAME.fullmatch(text)
        kind, index = match.groups() if match else ("", None)
        if kind not in kinds or (index and kind in _UNNUMBERED):
            names = ", ".join(k if k in _UNNUMBERED else f"{k}, {k}:N" for k in kinds)
            raise InputError(f"no device {text!r}: choose {names}")
        return cls(kind, int(index or 0))

    @property
    def on_cpu(self) -> bool:
        return self.kind == "cpu"

    def __str__(self) -> str:
        return self.kind if self.kind in _UNNUMBERED else f"{self.kind}:{self.index}"


def choose_device(
    wanted: str | None,
    kinds: Sequence[str],
    usable: Callable[[Device], bool],
    *,
    missing: str,
) -> Device:
    """The device to compute on.

    Args:
        wanted: a device name; None for the best one.
        kinds: what the runtime knows, best first.
        usable: whether the installed libraries can compute on a device here.
        missing: what to do where they cannot, for the message.

    Raises:
        InputError: not a device name of this runtime.
        RuntimeUnavailable: the device is not usable here.
    """
    if wanted is None:
        for kind in kinds:
            if usable(device := Device(kind)):
                return device
        raise RuntimeUnavailable(f"no device is usable here ({', '.join(kinds)}): {missing}")
    device = Device.parse(wanted, kinds)
    if not usable(device):
        raise RuntimeUnavailable(f"the device {wanted} is not usable here: {missing}")
    return device
