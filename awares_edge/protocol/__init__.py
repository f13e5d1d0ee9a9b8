"""The AwaRes protocol as pure logic: prompts, crops, calls, budgets. Knows no runtime."""

from awares_edge.protocol.budget import VisualTokens, pixel_ratio
from awares_edge.protocol.calls import CallTokens
from awares_edge.protocol.crops import CROP_NAMES, Box, Crop, crop_box
from awares_edge.protocol.grammar import CallGrammar
from awares_edge.protocol.parsing import CALL_MARKER, CallStatus, CropCall, parse_call, render_call
from awares_edge.protocol.profiles import PROFILES, ProtocolProfile, get_profile
from awares_edge.protocol.prompt import PromptBuilder, check_question
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer

__all__ = [
    "CALL_MARKER",
    "CROP_NAMES",
    "PROFILES",
    "Box",
    "CallGrammar",
    "CallStatus",
    "CallTokens",
    "Crop",
    "CropCall",
    "PromptBuilder",
    "ProtocolProfile",
    "SpecialTokens",
    "TextTokenizer",
    "VisualTokens",
    "check_question",
    "crop_box",
    "get_profile",
    "parse_call",
    "pixel_ratio",
    "render_call",
]
