"""Hugging Face Qwen2.5-VL folders: read with care, verified whole, no pickle, no torch."""

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.lora import Adapter, merge
from awares_edge.checkpoint.preprocessor import read_eos, read_preprocessing
from awares_edge.checkpoint.tensorfile import Tensor, Weights, chunks

__all__ = [
    "Adapter",
    "Checkpoint",
    "Tensor",
    "Weights",
    "chunks",
    "merge",
    "read_eos",
    "read_preprocessing",
]
