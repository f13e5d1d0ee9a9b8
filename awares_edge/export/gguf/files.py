"""The two GGUF files of a bundle: text model and vision tower (mmproj)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING, PATCH_EMBEDDING
from awares_edge.checkpoint.preprocessor import read_eos, read_preprocessing
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.gguf.format import FILE_TYPES, FloatName, GgufPrecision
from awares_edge.export.gguf.importance import importance_matrix
from awares_edge.export.gguf.layout import Kind, text_tensors, vision_tensors
from awares_edge.export.gguf.limits import check_model, check_rows
from awares_edge.export.gguf.metadata import (
    add_general,
    add_text,
    add_vision,
    read_template,
)
from awares_edge.export.gguf.quantize import quantize
from awares_edge.export.gguf.vocabulary import read_vocabulary
from awares_edge.export.gguf.writer import require_space, write_file
from awares_edge.export.measured import Measured
from awares_edge.protocol.tokenizer import END_OF_TEXT, TextTokenizer
from awares_edge.runtimes.llamacpp.files import (
    SUFFIX,
    TEXT_ARCHITECTURE,
    VISION_ARCHITECTURE,
    VISION_PREFIX,
)
from awares_edge.runtimes.llamacpp.library import library
from awares_edge.spec import TOKENIZER_NAME, ModelSpec

if TYPE_CHECKING:
    from gguf import GGUFWriter

_KINDS: dict[str, Kind] = {"f32": "f32", "f16": "f16", "bf16": "bf16"}
_UNQUANTIZED = "unquantized.gguf"


def file_names(name: str, precision: str) -> tuple[str, str]:
    """Names of both files, by llama.cpp's convention: "Name-Q4_K_M.gguf", "mmproj-Name-F16.gguf".

    Programs that scan a folder know a vision tower by the prefix.
    """
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
    if base.lower().startswith(VISION_PREFIX):
        base = f"model-{base}"
    vision = vision_kind(precision)
    text = f"{base}-{precision.upper()}{SUFFIX}"
    return text, f"{VISION_PREFIX}-{base}-{vision.upper()}{SUFFIX}"


def vision_kind(precision: str) -> Kind:
    """How the vision tower is stored: never below f16, where small text would be lost."""
    return _KINDS.get(precision, "f16")


def write_files(
    precision: GgufPrecision,
    source: Checkpoint,
    weights: Weights,
    measured: Measured | None,
    writer: BundleWriter,
    written: Callable[[int], None],
) -> None:
    """Write both files into a bundle.

    Args:
        weights: the checkpoint's, or with an adapter merged in.
        measured: what to quantize with; None to quantize without.
        written: called with how many more parameters are written; quantizing counts as half.

    Raises:
        ExportError: llama.cpp cannot hold this model, or the disk is full.
        RuntimeUnavailable: llama.cpp is needed to quantize, and is not installed.
    """
    spec = source.spec
    check_model(spec)
    quantized = precision not in get_args(FloatName)
    if quantized:
        check_rows(spec, precision)
        library()
    text, vision = (writer.path(name) for name in file_names(spec.name, precision))
    _write_vision(vision, source, weights, vision_kind(precision), written)
    if quantized:
        matrix = None if measured is None else importance_matrix(measured)
        _write_quantized(text, source, weights, precision, matrix, written)
    else:
        _write_text(text, source, weights, _KINDS[precision], written)


def _write_vision(
    path: Path, source: Checkpoint, weights: Weights, kind: Kind, written: Callable[[int], None]
) -> None:
    spec = source.spec

    def describe(gguf: GGUFWriter) -> None:
        add_general(gguf, spec, source.parameters, FILE_TYPES[kind])
        add_vision(gguf, spec, read_preprocessing(source.root))

    plan = list(vision_tensors(spec, kind, _patch_kind(source, kind)))
    write_file(path, VISION_ARCHITECTURE, describe, plan, weights, written)


def _write_quantized(
    path: Path,
    source: Checkpoint,
    weights: Weights,
    precision: GgufPrecision,
    importance: Mapping[str, NDArray[np.float32]] | None,
    written: Callable[[int], None],
) -> None:
    """llama.cpp quantizes only files, so a lossless one comes first."""
    stored: dict[str, Kind] = {"BF16": "bf16", "F16": "f16"}
    kind = stored.get(source.tensor(EMBEDDING).dtype, "f32")
    unquantized = path.with_name(_UNQUANTIZED)
    _write_text(unquantized, source, weights, kind, lambda count: written(count // 2))
    require_space(unquantized.parent, unquantized.stat().st_size * 5 // 8)
    half = sum(math.prod(tensor.shape) for tensor in text_tensors(source.spec, "f32")) // 2
    quantize(
        unquantized,
        path,
        precision,
        importance,
        progress=lambda _, total: written(half // total),
    )
    unquantized.unlink()


def _patch_kind(source: Checkpoint, kind: Kind) -> Kind:
    """How to store the patch embedding for a vision tower of this kind."""
    if source.tensor(PATCH_EMBEDDING).dtype == "BF16":
        return "bf16"
    return "f32" if kind == "f32" else "f16"


def _write_text(
    path: Path,
    source: Checkpoint,
    weights: Weights,
    kind: Kind,
    written: Callable[[int], None],
) -> None:
    spec: ModelSpec = source.spec
    tokenizer_file = source.root / TOKENIZER_NAME
    vocabulary = read_vocabulary(tokenizer_file, spec.vocabulary)
    tokenizer = TextTokenizer.from_file(tokenizer_file)
    special = tokenizer.special_tokens(read_eos(source.root))

    def describe(gguf: GGUFWriter) -> None:
        add_general(gguf, spec, source.parameters, FILE_TYPES[kind])
        template = read_template(source.root)
        add_text(gguf, spec, vocabulary, special, template, tokenizer.id_of(END_OF_TEXT))

    plan = list(text_tensors(spec, kind))
    write_file(path, TEXT_ARCHITECTURE, describe, plan, weights, written)
