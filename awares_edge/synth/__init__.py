"""Synthetic pictures whose questions, answers and evidence are known (numpy and Pillow only).

Scenes, charts and documents are for training and for evaluation. A sample's `drills` and
`bindings`, and the question `READ_ALL`, are for training only.
"""

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
