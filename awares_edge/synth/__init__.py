"""Synthetic pictures whose questions, answers and evidence are known (numpy and Pillow only).

Scenes, charts and documents are for training and for evaluation alike. For training only are
`pages`, `crowds`, a sample's `drills` and `bindings`, and the question `READ_ALL`.
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
