"""`export_checkpoint`: a checkpoint, with or without an adapter, becomes a bundle."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from awares_edge._version import __version__
from awares_edge.bundle.manifest import Manifest
from awares_edge.bundle.store import Bundle, Progress
from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.fingerprint import fingerprint
from awares_edge.checkpoint.json_object import JsonObject
from awares_edge.checkpoint.lora import Adapter, merge
from awares_edge.checkpoint.preprocessor import read_eos, read_preprocessing
from awares_edge.checkpoint.source import Source, find_source
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import CheckpointError, ExportError
from awares_edge.export.base import ExportFormat, Written
from awares_edge.export.measured import Measured, read_measured, require_same
from awares_edge.export.registry import make_format
from awares_edge.protocol import ProtocolProfile
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer
from awares_edge.spec import TOKENIZER_NAME
from awares_edge.vision.patches import Preprocessing

_WRITING = "writing weights"


def export_checkpoint(
    checkpoint: str | Path | Source,
    output: str | Path,
    *,
    format: str | ExportFormat = "onnx",
    precision: str | None = None,
    adapter: str | Path | Source | None = None,
    profile: ProtocolProfile,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle. It appears at `output` only when it is complete.

        export_checkpoint("Qwen2.5-VL-3B", "bundle", profile=profile, format="gguf")
        export_checkpoint(..., format=TensorrtFormat(target="orin-nano", precision="int8"))

    Args:
        checkpoint: Hugging Face Qwen2.5-VL folder (safetensors), or the id of a repository on the
            hub, "owner/name".
        output: the bundle's folder.
        format: a format's settings, or the name of a format (a key of `FORMATS`) for its defaults.
        precision: of the weights, instead of the format's.
        adapter: PEFT LoRA folder or repository, to merge on the way.
        profile: protocol that the checkpoint was trained with.
        progress: called with (what, done, total) as weights are written and hashed.
        overwrite: replace a bundle that is at `output`.

    Raises:
        CheckpointError: the checkpoint or the adapter cannot be found or used.
        ExportError: no such format or precision, the output exists, the disk is full, the format's
            calibration file cannot be used or belongs to other weights.
        InputError: the checkpoint's tokenizer does not fit the profile.
        RuntimeUnavailable: a package is missing; the message says how to install it.
    """
    chosen = make_format(format, precision)
    chosen.require()
    model = _Model.open(checkpoint, adapter, profile)
    manifest = model.manifest(chosen, profile)
    measured = model.measured(chosen.calibration)
    try:
        with BundleWriter(output, overwrite=overwrite) as writer:
            shutil.copyfile(model.base.root / TOKENIZER_NAME, writer.path(TOKENIZER_NAME))
            total = model.base.parameters
            count = _counter(progress, total)
            facts = chosen.write(model.base, model.weights, measured, writer, count)
            if progress:  # norms and biases are in the graphs, and were not counted
                progress(_WRITING, total, total)
            provenance = {**manifest.provenance, **facts}
            return writer.commit(replace(manifest, provenance=provenance), progress)
    except OSError as error:
        raise _disk_error(error, Path(output)) from error


@dataclass(frozen=True)
class _Model:
    """What is exported: a verified checkpoint, and an adapter merged into its weights.

    Attributes:
        base: the checkpoint.
        weights: its own, or with the adapter merged in.
        update: the adapter.
        source, adapter: where they were found.
    """

    base: Checkpoint
    weights: Weights
    update: Adapter | None
    preprocessing: Preprocessing
    tokens: SpecialTokens
    source: Source
    adapter: Source | None

    @classmethod
    def open(
        cls,
        checkpoint: str | Path | Source,
        adapter: str | Path | Source | None,
        profile: ProtocolProfile,
    ) -> _Model:
        source = _find(checkpoint, "checkpoint")
        added = None if adapter is None else _find(adapter, "adapter")
        base = Checkpoint.open(source.path, name=source.name)
        update = None if added is None else Adapter.open(added.path, base)
        weights: Weights = base if update is None else merge(base, update)
        rules, tokens = _preprocessing(base), _tokens(base, profile)
        return cls(base, weights, update, rules, tokens, source, added)

    def measured(self, path: Path | None) -> Measured | None:
        """What a calibration file holds; None without one.

        Raises:
            ExportError: it cannot be used, or was measured on other weights.
        """
        if path is None:
            return None
        measured = read_measured(path, self.base.spec)
        require_same(measured, path, fingerprint(self.base, self.update))
        return measured

    def manifest(self, format: ExportFormat, profile: ProtocolProfile) -> Manifest:
        """The bundle's manifest, without its files."""
        return Manifest(
            runtime=format.runtime,
            precision=format.precision,
            model=self.base.spec,
            protocol=format.limit(profile, self.base.spec),
            preprocessing=self.preprocessing,
            tokens=self.tokens,
            files={},
            provenance=self._provenance(),
        )

    def _provenance(self) -> dict[str, str]:
        version = JsonObject.read(self.base.root / "config.json").data.get("transformers_version")
        adapter = self.adapter
        facts: dict[str, str | None] = {
            "checkpoint": self.base.spec.name,
            "checkpoint_dtype": self.base.dtype,
            "hub": self.source.hub,
            "adapter": adapter.name if adapter else None,
            "adapter_hub": adapter.hub if adapter else None,
            "transformers": version if isinstance(version, str) else None,
            "exporter": f"awares-edge {__version__}",
        }
        return {name: value for name, value in facts.items() if value is not None}


def _find(place: str | Path | Source, what: str) -> Source:
    return place if isinstance(place, Source) else find_source(place, what=what)


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


def _counter(progress: Progress | None, total: int) -> Written:
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
