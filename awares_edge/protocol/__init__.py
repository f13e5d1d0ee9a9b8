"""Protocol profiles as data, and their pure logic: prompts, calls, regions, replies, budgets.

Knows no runtime.
"""

from awares_edge.protocol.budget import VisualTokens, pixel_ratio
from awares_edge.protocol.call import Call, CallStatus, CallSyntax, CallTokens, Request
from awares_edge.protocol.crops import CROP_NAMES, Box, Crop, crop_box
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.profiles import PROFILES, get_profile
from awares_edge.protocol.prompt import PromptBuilder, check_question
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer

__all__ = [
    "CROP_NAMES",
    "PROFILES",
    "Box",
    "Call",
    "CallStatus",
    "CallSyntax",
    "CallTokens",
    "Crop",
    "PromptBuilder",
    "ProtocolProfile",
    "Request",
    "SpecialTokens",
    "TextTokenizer",
    "VisualTokens",
    "check_question",
    "crop_box",
    "get_profile",
    "pixel_ratio",
]
