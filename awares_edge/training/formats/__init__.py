"""Trajectories in the formats that other training projects read."""

from awares_edge.training.formats.base import FORMATS, FormatName, get_format
from awares_edge.training.formats.convert import ConversionReport, convert

__all__ = ["FORMATS", "ConversionReport", "FormatName", "convert", "get_format"]
