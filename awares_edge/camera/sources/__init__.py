"""Sources of frames, and which of them a text names."""

from awares_edge.camera.sources.base import Kind, Source, SourceInfo
from awares_edge.camera.sources.registry import find_sources, open_source

__all__ = ["Kind", "Source", "SourceInfo", "find_sources", "open_source"]
