"""The loop: first view, calls and their regions, answer. Knows no runtime."""

from awares_edge.controller.askable import About, Askable, OpenPicture
from awares_edge.controller.grammar import AnswerGrammar
from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.controller.policies import Policies
from awares_edge.controller.saved import RegionKey, SavedPicture, SavedRegion, SavedView
from awares_edge.controller.trace import (
    Answer,
    CropsRequested,
    Event,
    Mode,
    ReasoningDelta,
    TextDelta,
    TurnTrace,
    ZoomedCrop,
)

__all__ = [
    "About",
    "Answer",
    "AnswerGrammar",
    "AskOptions",
    "Askable",
    "CropsRequested",
    "Event",
    "Mode",
    "Model",
    "OpenPicture",
    "Picture",
    "Policies",
    "ReasoningDelta",
    "RegionKey",
    "SavedPicture",
    "SavedRegion",
    "SavedView",
    "TextDelta",
    "TurnTrace",
    "ZoomedCrop",
]
