"""Synthetic pictures with questions whose evidence is known (numpy and Pillow alone)."""

from awares_edge.synth.generate import FAMILIES, HELD_BACK, generate
from awares_edge.synth.oracle import is_sufficient, smallest_crops
from awares_edge.synth.sample import SIDE, Question, Sample

__all__ = [
    "FAMILIES",
    "HELD_BACK",
    "SIDE",
    "Question",
    "Sample",
    "generate",
    "is_sufficient",
    "smallest_crops",
]
