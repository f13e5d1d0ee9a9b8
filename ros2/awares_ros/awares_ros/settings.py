"""The node's parameters: names, defaults, descriptions and ranges; knows nothing of ROS."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, cast, get_args

from awares_edge import Askable, AskOptions, Policies, load
from awares_edge.controller import Mode
from awares_edge.errors import InputError


def _setting(default: Any, description: str, **about: Any) -> Any:
    return field(default=default, metadata={"description": description, **about})


def _choices(default: str, description: str, choices: tuple[str, ...]) -> Any:
    return _setting(default, f"{description}: {', '.join(choices)}.", choices=choices)


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of the node, read when it is configured. Their descriptions are in the metadata.

    Raises:
        InputError: a value is not allowed.
    """

    bundle: str = _setting("", "Folder of the bundle; empty for the embedded nano model.")
    runtime: str = _setting("", "Runtime; empty for the bundle's own.")
    device: str = _setting("", "Device, such as cpu or cuda; empty for the best one.")
    threads: int = _setting(0, "CPU threads; 0 for one for each core.", range=(0, 1024))
    mode: str = _choices("awares", "How to ask", get_args(Mode))
    abstain_below: float = _setting(
        0.0, "An answer of lower confidence becomes `unsure`; 0 for never.", range=(0.0, 1.0)
    )
    question: str = _setting("", "A question that is repeated; empty for none.")
    interval: float = _setting(
        1.0, "Seconds from asking `question` to asking it again.", range=(0.01, 86400.0)
    )
    most_waiting: int = _setting(8, "Questions that may wait.", range=(1, 1000))
    max_age_ms: float = _setting(
        1000.0, "Older pictures are not asked about; 0 for no limit.", range=(0.0, 1e9)
    )
    deadline_ms: float = _setting(
        0.0,
        "Most milliseconds from the picture to its answer; 0 for no limit.",
        range=(0.0, 1e9),
    )
    picture_time: str = _choices(
        "stamp",
        "When a picture was taken; `arrival` if the camera's clock differs from the node's",
        ("stamp", "arrival"),
    )
    compressed: bool = _setting(
        False, "Subscribe to input_image/compressed instead of input_image."
    )
    max_pixels: int = _setting(25_000_000, "Most pixels of a picture.", range=(1, 1_000_000_000))

    def __post_init__(self) -> None:
        for one in fields(self):
            value, about = getattr(self, one.name), one.metadata
            if "choices" in about and value not in about["choices"]:
                raise InputError(
                    f"{one.name} must be {' or '.join(about['choices'])}, not {value!r}"
                )
            low, high = about.get("range", (value, value))
            if not low <= value <= high:
                raise InputError(f"{one.name} must be between {low:g} and {high:g}")

    def options(self, *, follow_up: bool = False) -> AskOptions:
        """How to ask."""
        # Pictures whose age does not matter have no other deadline.
        timeout = self.deadline_ms / 1e3 or None
        policies = Policies(abstain_below=self.abstain_below or None)
        mode = cast(Mode, self.mode)
        return AskOptions(mode, follow_up=follow_up, timeout=timeout, policies=policies)


def load_model(settings: Settings) -> Askable:
    """The model that the settings name; see `awares_edge.load` for the errors."""
    return load(
        settings.bundle or None,
        runtime=settings.runtime or None,
        device=settings.device or None,
        threads=settings.threads or None,
    )
