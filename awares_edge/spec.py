"""The shape of a model, and the file names that a bundle and its readers share."""

from __future__ import annotations

from dataclasses import dataclass

MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
EMBEDDING_NAME = "embedding.npy"
GRAPH_SUFFIX = ".onnx"


def half_graph(name: str) -> str:
    """File of a graph that computes in fp16, for GPUs."""
    return f"{name}.fp16{GRAPH_SUFFIX}"


@dataclass(frozen=True, slots=True)
class VisionSpec:
    """Shape of the vision tower.

    Attributes:
        window_size: pixels along one side of an attention window.
        full_attention_blocks: indexes of the blocks that attend over the whole picture.
        out_hidden_size: width of the features, equal to the text model's hidden size.
    """

    hidden_size: int
    intermediate_size: int
    depth: int
    heads: int
    window_size: int
    full_attention_blocks: tuple[int, ...]
    out_hidden_size: int
    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    in_channels: int = 3


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Shape of the model, as a runtime needs it.

    Attributes:
        name, license, base_model: for people.
        vocabulary: rows of the embedding, and length of a row of logits.
        mrope_section: frequencies per position axis (t, h, w); their sum is head_dim / 2.
        context: most positions that the checkpoint declares.
    """

    name: str
    license: str
    base_model: str
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    rope_theta: float
    mrope_section: tuple[int, int, int]
    norm_eps: float
    tied: bool
    context: int
    vision: VisionSpec

    @property
    def kv_values(self) -> int:
        """Numbers in one KV cell: keys and values of every layer."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def cell_bytes(self) -> int:
        """Most memory of one KV cell: in float32, with the features of a visual token, which are
        kept beside it. A runtime that keeps 16 bits takes half."""
        return 4 * (self.kv_values + self.hidden_size)
