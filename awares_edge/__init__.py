"""AwaRes vision-language models on the edge.

    import awares_edge

    with awares_edge.load() as model:                     # the embedded nano bundle
        answer = model.ask("picture.png", "What is the code of the red star?")
        print(answer.text, answer.rtr, [crop.name for crop in answer.crops])

        with model.open("picture.png") as picture:        # its KV cache is kept between questions
            picture.ask("Is there a blue circle?")
            picture.ask("And below it?", awares_edge.AskOptions(follow_up=True))
            for event in picture.stream("What is the title?"):
                ...

Names exported here are the public API; everything else may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from awares_edge._version import __version__
from awares_edge.errors import (
    AwaresError,
    BundleError,
    CameraError,
    Cancelled,
    CheckpointError,
    ContextOverflow,
    DeadlineExceeded,
    EndpointError,
    ExportError,
    FrameSuperseded,
    FrameTooOld,
    ImageError,
    InputError,
    Interrupted,
    QuestionError,
    QueueFull,
    RuntimeUnavailable,
    SessionError,
)

if TYPE_CHECKING:
    from awares_edge.api import embedded_bundle, load, scripted
    from awares_edge.bundle import Bundle
    from awares_edge.controller import (
        About,
        Answer,
        Askable,
        AskOptions,
        CropsRequested,
        Event,
        Model,
        OpenPicture,
        Picture,
        Policies,
        ReasoningDelta,
        TextDelta,
        TurnTrace,
        ZoomedCrop,
    )
    from awares_edge.protocol import PROFILES, ProtocolProfile
    from awares_edge.remote.connecting import connect

__all__ = [
    "PROFILES",
    "About",
    "Answer",
    "AskOptions",
    "Askable",
    "AwaresError",
    "Bundle",
    "BundleError",
    "CameraError",
    "Cancelled",
    "CheckpointError",
    "ContextOverflow",
    "CropsRequested",
    "DeadlineExceeded",
    "EndpointError",
    "Event",
    "ExportError",
    "FrameSuperseded",
    "FrameTooOld",
    "ImageError",
    "InputError",
    "Interrupted",
    "Model",
    "OpenPicture",
    "Picture",
    "Policies",
    "ProtocolProfile",
    "QuestionError",
    "QueueFull",
    "ReasoningDelta",
    "RuntimeUnavailable",
    "SessionError",
    "TextDelta",
    "TurnTrace",
    "ZoomedCrop",
    "__version__",
    "connect",
    "embedded_bundle",
    "load",
    "scripted",
]

_HOMES = {
    "api": ("embedded_bundle", "load", "scripted"),
    "bundle": ("Bundle",),
    "controller": (
        *("About", "Answer", "Askable", "AskOptions", "CropsRequested", "Event", "Model"),
        *("OpenPicture", "Picture", "Policies", "ReasoningDelta", "TextDelta", "TurnTrace"),
        "ZoomedCrop",
    ),
    "protocol": ("PROFILES", "ProtocolProfile"),
    "remote.connecting": ("connect",),
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Loaded on first use: the command line starts before numpy, and reports Ctrl-C itself.
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(import_module(f"{__name__}.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
