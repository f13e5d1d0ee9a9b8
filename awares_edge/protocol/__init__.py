"""The AwaRes protocol as pure logic: prompts, crops, calls, budgets. Knows no runtime."""

from awares_edge.protocol.budget import VisualTokens, pixel_ratio
from awares_edge.protocol.call import CallFormat, CallStatus, CallTokens, CropCall
from awares_edge.protocol.crops import CROP_NAMES, Box, Crop, crop_box
from awares_edge.protocol.profiles import PROFILES, ProtocolProfile, get_profile
from awares_edge.protocol.prompt import PromptBuilder, check_question
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer

__all__ = [
    "CROP_NAMES",
    "PROFILES",
    "Box",
    "CallFormat",
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
    "pixel_ratio",
]
