"""A call for crops: how it is written, recognised while it is generated, and read."""

from awares_edge.protocol.call.format import CallFormat, CallStatus, CropCall
from awares_edge.protocol.call.tokens import CallTokens

__all__ = ["CallFormat", "CallStatus", "CallTokens", "CropCall"]
