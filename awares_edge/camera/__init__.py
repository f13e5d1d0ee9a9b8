"""A model before a camera: sources behind one contract, the freshest frame, and the running demo.

    with load() as model, Station(model) as station:   # the synthetic scene
        station.ask("How many objects are there?")
        for event in station.events():
            ...

Nothing here imports OpenCV before a source needs it.
"""

from awares_edge.camera.camera import Camera, CameraStatus
from awares_edge.camera.events import StationEvent
from awares_edge.camera.exchange import Exchange, Seen
from awares_edge.camera.frames import Frame, Shot
from awares_edge.camera.sources import SourceInfo, open_source
from awares_edge.camera.station import Station, StationOptions

__all__ = [
    "Camera",
    "CameraStatus",
    "Exchange",
    "Frame",
    "Seen",
    "Shot",
    "SourceInfo",
    "Station",
    "StationEvent",
    "StationOptions",
    "open_source",
]
