"""`export_checkpoint`: a checkpoint, with or without an adapter, becomes a bundle."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from awares_edge._version import __version__
from awares_edge.bundle.manifest import Manifest
from awares_edge.bundle.store import Progress
from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.json_object import JsonObject
from awares_edge.checkpoint.lora import Adapter, merge
from awares_edge.checkpoint.preprocessor import read_eos, read_preprocessing
from awares_edge.errors import CheckpointError, ExportError
from awares_edge.extras import require
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer
from awares_edge.spec import TOKENIZER_NAME
from awares_edge.vision.patches import Preprocessing

_WRITING = "writing weights"


@dataclass(frozen=True, slots=True)
class Format:
    """An export format.

    Attributes:
        module: offers `PRECISIONS` and
            `write_files(source, weights, precision, writer, written, **options)`; a format that
            limits pictures also `limit_profile(profile, spec, options)`.
        runtime: name of the runtime that reads the bundle.
        needs: packages that the module imports.
        extra: what to install where they are not.
    """

    module: str
    runtime: str
    needs: tuple[str, ...]
    extra: str


FORMATS = {
    "onnx": Format("awares_edge.export.onnx", "onnx", ("onnx",), "export"),
    "gguf": Format("awares_edge.export.gguf", "llamacpp", ("gguf",), "gguf"),
    "tensorrt": Format("awares_edge.export.tensorrt", "tensorrt", ("onnx", "ml_dtypes"), "export"),
}


def export_checkpoint(
    checkpoint: str | Path,
    output: str | Path,
    *,
    format: str = "onnx",
    precision: str | None = None,
    adapter: str | Path | None = None,
    profile: ProtocolProfile,
    progress: Callable[[str, int, int], None] | None = None,
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle. It appears at `output` when it is complete, or not at all.

    Args:
        checkpoint: Hugging Face Qwen2.5-VL folder (safetensors).
        output: the bundle's folder.
        format: a key of `FORMATS`.
        precision: of the weights, as the format offers them; None for its first.
        adapter: PEFT LoRA folder to merge on the way.
        profile: protocol that the checkpoint was trained with.
        progress: told (what, done, total) as weights are written and hashed.
        overwrite: replace a bundle that is at `output`.
        options: what the format alone knows, by name.

    Returns:
        `output`.

    Raises:
        CheckpointError: the checkpoint or the adapter cannot be used.
        ExportError: no such format or precision, the output exists, the disk is full.
        RuntimeUnavailable: a package is missing; the message says how to install it.
    """
    target = _format(format)
    module = import_module(target.module)
    if precision is None:
        precision = next(iter(module.PRECISIONS))
    if precision not in module.PRECISIONS:
        raise ExportError(
            f"no precision {precision!r} for {format}: choose {', '.join(module.PRECISIONS)}"
        )
    source = Checkpoint.open(Path(checkpoint))
    weights = source if adapter is None else merge(source, Adapter.open(Path(adapter), source))
    if hasattr(module, "limit_profile"):
        profile = module.limit_profile(profile, source.spec, options or {})
    preprocessing = _preprocessing(source)
    tokens = _tokens(source, profile)
    try:
        with BundleWriter(output, overwrite=overwrite) as writer:
            shutil.copyfile(source.root / TOKENIZER_NAME, writer.path(TOKENIZER_NAME))
            written = _counter(progress, source.parameters)
            module.write_files(source, weights, precision, writer, written, **(options or {}))
            if progress:  # norms and biases went uncounted into the graphs
                progress(_WRITING, source.parameters, source.parameters)
            manifest = Manifest(
                runtime=target.runtime,
                precision=precision,
                model=source.spec,
                protocol=profile,
                preprocessing=preprocessing,
                tokens=tokens,
                files={},
                provenance=_provenance(source, adapter),
            )
            return writer.commit(manifest, progress)
    except OSError as error:
        raise _disk_error(error, Path(output)) from error


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise ExportError(f"no export format {name!r}: choose {', '.join(FORMATS)}")
    entry = FORMATS[name]
    require(f"exporting to {name}", dict.fromkeys(entry.needs, f"awares-edge[{entry.extra}]"))
    return entry


def _preprocessing(source: Checkpoint) -> Preprocessing:
    rules, vision = read_preprocessing(source.root), source.spec.vision
    for field in ("patch_size", "temporal_patch_size", "merge_size"):
        if getattr(rules, field) != getattr(vision, field):
            raise CheckpointError(
                f"{source.root}: preprocessor_config.json and config.json differ in {field}"
            )
    return rules


def _tokens(source: Checkpoint, profile: ProtocolProfile) -> SpecialTokens:
    tokenizer = TextTokenizer.from_file(source.root / TOKENIZER_NAME)
    if tokenizer.vocabulary > source.spec.vocabulary:
        raise CheckpointError(
            f"{source.root}: the tokenizer has {tokenizer.vocabulary} tokens, the model "
            f"{source.spec.vocabulary}: they do not belong together"
        )
    tokenizer.require_tokens(profile.tokens, profile.name)
    return tokenizer.special_tokens(read_eos(source.root))


def _provenance(source: Checkpoint, adapter: str | Path | None) -> dict[str, str]:
    config = JsonObject.read(source.root / "config.json").data
    version = config.get("transformers_version")
    facts: dict[str, Any] = {
        "checkpoint": source.spec.name,
        "checkpoint_dtype": source.dtype,
        "adapter": Path(adapter).resolve().name if adapter is not None else None,
        "transformers": version if isinstance(version, str) else None,
        "exporter": f"awares-edge {__version__}",
    }
    return {key: value for key, value in facts.items() if value is not None}


def _counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def written(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(_WRITING, done, total)

    return written


def _disk_error(error: OSError, output: Path) -> ExportError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExportError(f"no space left for {output}: free some, or export to another disk")
    return ExportError(f"cannot write {output}: {error.strerror or error}")
