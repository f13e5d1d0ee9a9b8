"""The two GGUF files of a bundle: text model and vision tower (mmproj)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.preprocessor import read_eos, read_preprocessing
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.gguf.importance import read_importance
from awares_edge.export.gguf.layout import PATCH_EMBEDDING, Kind, text_tensors, vision_tensors
from awares_edge.export.gguf.limits import check_model, check_rows
from awares_edge.export.gguf.metadata import (
    add_general,
    add_text,
    add_vision,
    read_template,
)
from awares_edge.export.gguf.quantize import QUANTIZATIONS, quantize
from awares_edge.export.gguf.vocabulary import read_vocabulary
from awares_edge.export.gguf.writer import require_space, write_file
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

PRECISIONS = ("f16", "bf16", "f32", *QUANTIZATIONS)
# `general.file_type`: enum llama_ftype.
_FILE_TYPES: dict[str, int] = {"f32": 0, "f16": 1, "bf16": 32, **QUANTIZATIONS}
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
    source: Checkpoint,
    weights: Weights,
    precision: str,
    writer: BundleWriter,
    written: Callable[[int], None],
    importance: str | Path | None = None,
) -> None:
    """Write both files into a bundle.

    Args:
        weights: the checkpoint's, or with an adapter merged in.
        precision: of `PRECISIONS`; the vision tower stays at f16 below that.
        written: called with how many more parameters are written; quantizing counts as half.
        importance: an importance matrix that `importance.save_importance` wrote.

    Raises:
        ExportError: llama.cpp cannot hold this model, or the disk is full.
        RuntimeUnavailable: llama.cpp is needed to quantize, and is not installed.
    """
    spec = source.spec
    check_model(spec)
    matrix = None
    if precision in QUANTIZATIONS:
        check_rows(spec, precision)
        library()
        matrix = read_importance(Path(importance), spec) if importance else None
    elif importance:
        raise ExportError(f"an importance matrix has no use at {precision}: leave it out")

    text_file, vision_file = file_names(spec.name, precision)
    _write_vision(writer.path(vision_file), source, weights, vision_kind(precision), written)
    if precision in _KINDS:
        _write_text(writer.path(text_file), source, weights, precision, written)
        return
    # llama.cpp quantizes only files, so a lossless one comes first.
    stored = {"BF16": "bf16", "F16": "f16"}.get(source.tensor(EMBEDDING).dtype, "f32")
    unquantized = writer.path(_UNQUANTIZED)
    _write_text(unquantized, source, weights, stored, lambda count: written(count // 2))
    require_space(unquantized.parent, unquantized.stat().st_size * 5 // 8)
    half = sum(math.prod(tensor.shape) for tensor in text_tensors(spec, "f32")) // 2
    quantize(
        unquantized,
        writer.path(text_file),
        precision,
        matrix,
        progress=lambda _, total: written(half // total),
    )
    unquantized.unlink()


def _write_vision(
    path: Path, source: Checkpoint, weights: Weights, kind: Kind, written: Callable[[int], None]
) -> None:
    def describe(gguf: GGUFWriter) -> None:
        add_general(gguf, source.spec, source.parameters, _FILE_TYPES[kind])
        add_vision(gguf, source.spec, read_preprocessing(source.root))

    plan = list(vision_tensors(source.spec, kind, _patch_kind(source, kind)))
    write_file(path, VISION_ARCHITECTURE, describe, plan, weights, written)


def _patch_kind(source: Checkpoint, kind: Kind) -> Kind:
    """How to store the patch embedding beside a vision tower of this kind."""
    if source.tensor(PATCH_EMBEDDING).dtype == "BF16":
        return "bf16"
    return "f32" if kind == "f32" else "f16"


def _write_text(
    path: Path,
    source: Checkpoint,
    weights: Weights,
    precision: str,
    written: Callable[[int], None],
) -> None:
    spec: ModelSpec = source.spec
    tokenizer_file = source.root / TOKENIZER_NAME
    vocabulary = read_vocabulary(tokenizer_file, spec.vocabulary)
    tokenizer = TextTokenizer.from_file(tokenizer_file)
    special = tokenizer.special_tokens(read_eos(source.root))

    def describe(gguf: GGUFWriter) -> None:
        add_general(gguf, spec, source.parameters, _FILE_TYPES[precision])
        template = read_template(source.root)
        add_text(gguf, spec, vocabulary, special, template, tokenizer.id_of(END_OF_TEXT))

    plan = list(text_tensors(spec, _KINDS[precision]))
    write_file(path, TEXT_ARCHITECTURE, describe, plan, weights, written)
