"""A call for a closer look: how it is written, recognised while it is generated, and read."""

from __future__ import annotations

from functools import lru_cache

from awares_edge.protocol.call.base import Call, CallStatus, CallSyntax, Request
from awares_edge.protocol.call.crop_list import CropListCall
from awares_edge.protocol.call.tagged import TaggedCall
from awares_edge.protocol.call.tokens import CallTokens
from awares_edge.protocol.call.tool import Tool

__all__ = [
    "Call",
    "CallStatus",
    "CallSyntax",
    "CallTokens",
    "CropListCall",
    "Request",
    "TaggedCall",
    "Tool",
    "call_syntax",
]


@lru_cache(maxsize=32)
def call_syntax(tool: Tool) -> CallSyntax:
    """The syntax of a profile's calls, made once.

    Raises:
        InputError: the tool's fields do not make a call that can be read back.
    """
    if tool.syntax == "crops":
        return CropListCall(tool.opening, tool.closing, tool.crops)
    return TaggedCall(tool)
