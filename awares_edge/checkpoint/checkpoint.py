"""A Hugging Face Qwen2.5-VL folder, verified completely before it is used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from awares_edge.checkpoint.json_object import JsonObject
from awares_edge.checkpoint.names import EMBEDDING, HEAD, canonical, expected_shapes, ignorable
from awares_edge.checkpoint.safetensors_header import read_header
from awares_edge.checkpoint.spec_reader import read_spec
from awares_edge.checkpoint.tensorfile import Stored, chunks
from awares_edge.errors import CheckpointError
from awares_edge.spec import TOKENIZER_NAME, ModelSpec

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class Checkpoint:
    """A verified checkpoint: all tensors are there, with the right shapes and float dtypes.

    Attributes:
        root: its folder.
        spec: the model's shape.
        parameters: how many numbers its tensors hold, a tied head counted once.
    """

    def __init__(self, root: Path, spec: ModelSpec, tensors: dict[str, Stored]) -> None:
        self.root = root
        self.spec = spec
        self._tensors = tensors
        self.parameters = sum(math.prod(stored.shape) for stored in tensors.values())

    @classmethod
    def open(cls, root: Path, *, name: str | None = None) -> Checkpoint:
        """Read and verify a folder's configuration and tensor headers (no tensor data).

        Args:
            name: of the model; None for the folder's.

        Raises:
            CheckpointError: no folder, another architecture, pickled weights, tensors missing,
                unexpected, of a wrong shape or dtype, no tokenizer.
        """
        if not root.is_dir():
            raise CheckpointError(f"no such checkpoint folder: {root}")
        JsonObject.read(root / "config.json")
        stored = _collect(root)
        spec = read_spec(root, has_head=HEAD in stored, name=name)
        if not (root / TOKENIZER_NAME).is_file():
            raise CheckpointError(
                f"{root} has no {TOKENIZER_NAME}: save the fast tokenizer beside the weights"
            )
        _verify(root, spec, stored)
        return cls(root, spec, stored)

    @property
    def dtype(self) -> str:
        """Dtype of most tensors, as safetensors names it."""
        return self._tensors[EMBEDDING].dtype

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this canonical name (a tied head is not one)."""
        return name in self._tensors

    def tensor(self, name: str) -> Stored:
        """A tensor by canonical name."""
        return self._tensors[name]


def _collect(root: Path) -> dict[str, Stored]:
    """Every tensor of a single or sharded safetensors checkpoint, by canonical name."""
    tensors: dict[str, Stored] = {}
    for path, names in _shards(root).items():
        header = read_header(path)
        if names is not None and (absent := sorted(names - set(header))):
            raise CheckpointError(f"{path} lacks {absent[0]}, which {_INDEX} says it holds")
        for name, stored in header.items():
            if ignorable(name):
                continue
            key = canonical(name)
            if key is None:
                raise CheckpointError(f"{path} holds {name}, which is not a tensor of Qwen2.5-VL")
            if key in tensors:
                raise CheckpointError(f"{root} holds {name} twice: remove one of the files")
            tensors[key] = stored
    return tensors


def _shards(root: Path) -> dict[Path, set[str] | None]:
    """Files to read, each with the names that the index puts there (None: no index)."""
    if (root / _INDEX).is_file():
        weight_map = JsonObject.read(root / _INDEX).child("weight_map").data
        if not weight_map:
            raise CheckpointError(f"{root / _INDEX} lists no tensors: download it again")
        shards: dict[Path, set[str] | None] = {}
        for name, file in weight_map.items():
            if not isinstance(file, str) or Path(file).name != file or "\\" in file:
                raise CheckpointError(f"{_INDEX}: {file!r} is not a file of the checkpoint folder")
            if not file.endswith(".safetensors"):
                raise CheckpointError(f"{_INDEX}: {file} is not a safetensors file")
            names = shards.setdefault(root / file, set())
            assert names is not None
            names.add(name)
        for path in shards:
            if not path.is_file():
                raise CheckpointError(f"{path} is missing: download all shards of the checkpoint")
        return shards
    if (root / _SINGLE).is_file():
        return {root / _SINGLE: None}
    if any(found for pattern in _PICKLES for found in root.glob(pattern)):
        raise CheckpointError(
            f"{root} has only pickled weights, which are never loaded: convert them to safetensors "
            "(model.save_pretrained(..., safe_serialization=True)) on a machine you trust them on"
        )
    raise CheckpointError(f"{root} has neither {_SINGLE} nor {_INDEX}: download the weights")


def _verify(root: Path, spec: ModelSpec, stored: dict[str, Stored]) -> None:
    expected = expected_shapes(spec)
    if spec.tied and HEAD in stored:
        _require_equal_head(root, stored)
        del stored[HEAD]
    if missing := [name for name in expected if name not in stored]:
        raise CheckpointError(
            f"{root} lacks {len(missing)} tensors, first {missing[0]}: download it again"
        )
    if extra := sorted(set(stored) - set(expected)):
        raise CheckpointError(
            f"{root} holds {len(extra)} tensors that its config.json does not know, first "
            f"{extra[0]}: merge adapters and extra heads first"
        )
    for name, shape in expected.items():
        if stored[name].shape != shape:
            raise CheckpointError(
                f"{root}: {name} has shape {list(stored[name].shape)}, config.json says "
                f"{list(shape)}"
            )


def _require_equal_head(root: Path, stored: dict[str, Stored]) -> None:
    """A tied checkpoint may repeat its embedding as a head, if it is the same."""
    head, embedding = stored[HEAD], stored[EMBEDDING]
    same = head.shape == embedding.shape and all(
        np.array_equal(a, b) for a, b in zip(chunks(head), chunks(embedding), strict=True)
    )
    if not same:
        raise CheckpointError(
            f"{root}: config.json ties the head to the embedding, but {HEAD} differs: set "
            "tie_word_embeddings to false, or remove it"
        )
