"""Questions about live frames, answered on one worker thread: what robots and cameras embed.

from awares_edge import live

with awares_edge.load() as model, live.LiveAsker(model, deadline_ms=2000) as asker:
    ticket = asker.submit(live.Frame(array), "What does the gauge read?")
    print(ticket.result().text)
"""

from awares_edge.live.asker import LiveAsker
from awares_edge.live.events import (
    Answered,
    Cancelled,
    Ending,
    Failed,
    LiveEvent,
    Regions,
    Started,
    Superseded,
    Text,
    Thought,
    TooOld,
)
from awares_edge.live.frame import Frame, FrameSource, LatestFrame
from awares_edge.live.line import Policy
from awares_edge.live.ticket import Status, Ticket

__all__ = [
    "Answered",
    "Cancelled",
    "Ending",
    "Failed",
    "Frame",
    "FrameSource",
    "LatestFrame",
    "LiveAsker",
    "LiveEvent",
    "Policy",
    "Regions",
    "Started",
    "Status",
    "Superseded",
    "Text",
    "Thought",
    "Ticket",
    "TooOld",
]
