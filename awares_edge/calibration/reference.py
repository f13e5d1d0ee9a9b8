"""How often a reference calls: a bundle, a checkpoint in torch, or a saved recording."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from awares_edge.api import load
from awares_edge.bundle.store import Bundle
from awares_edge.calibration.outcomes import Progress, decisions
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.source import find_source
from awares_edge.controller.model import Model
from awares_edge.errors import ImageError, InputError
from awares_edge.files import whole_file
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.schema import Items, Limits, Text, parse_json, read_dataclass
from awares_edge.spec import MANIFEST_NAME, ModelSpec
from awares_edge.vision.load import ImageSource

_FORMAT = "awares-edge-decisions"
_MAX_BYTES = 16 << 20
_LIMITS: Limits = {
    "format": Text(1, 64),
    "model_sha256": Text(64, 64),
    "profile_sha256": Text(64, 64),
    "questions_sha256": Text(64, 64),
    "calls": Items(1, 1 << 20),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """Decisions of a reference.

    Attributes:
        model_sha256: hash of the model's shape.
        profile_sha256: hash of the profile.
        questions_sha256: hash of the questions and their pictures.
        calls: by question: whether it calls; None where there is nothing to decide.
    """

    format: str
    model_sha256: str
    profile_sha256: str
    questions_sha256: str
    calls: tuple[bool | None, ...]

    def call_rate(self, counted: Sequence[bool]) -> float:
        """Share of calls among the questions that are counted.

        Raises:
            InputError: it decides on another question than those.
        """
        if [calls is not None for calls in self.calls] != list(counted):
            raise InputError(
                "the reference cannot zoom into the same pictures as the bundle: give pictures "
                "that both can zoom into"
            )
        calls = [calls for calls in self.calls if calls is not None]
        return sum(calls) / len(calls)

    def save(self, path: Path) -> None:
        """Write a file that `read_reference` reads."""
        with whole_file(path) as file:
            file.write(json.dumps(asdict(self), sort_keys=True).encode() + b"\n")


def ask_reference(
    place: str,
    bundle: Bundle,
    questions: Sequence[CalibrationQuestion],
    *,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Reference:
    """Decisions of the reference at `place`, under the bundle's own profile.

    Args:
        place: a file that was saved, a bundle, a checkpoint folder, or a hub id.

    Raises:
        InputError: it is of another model, another profile, or other questions.
        ImageError: a picture cannot be used.
        BundleError, CheckpointError, RuntimeUnavailable: it cannot be loaded.
    """
    path, profile = Path(place), bundle.manifest.protocol
    if path.is_file():
        return read_reference(path, bundle, questions)
    if (path / MANIFEST_NAME).is_file():
        manifest = Bundle.open(path, verify=False).manifest
        if _profile_sha256(manifest.protocol) != _profile_sha256(profile):
            raise InputError(
                f"{place} is a bundle with the profile {manifest.protocol.name}, this one has "
                f"{profile.name}: give a reference with the same profile"
            )
        spec, runtime, root = manifest.model, None, path
    else:
        root = find_source(place).path
        spec, runtime = Checkpoint.open(root).spec, "torch"
    _check_model(place, spec, bundle)
    with load(root, runtime=runtime, device=device, threads=threads) as loaded:
        # A checkpoint carries no profile: it is asked as the bundle is.
        model = Model(
            loaded.runtime,
            loaded.tokenizer,
            loaded.special,
            profile,
            loaded.preprocessing,
            loaded.calibration,
        )
        calls = decisions(questions, model, progress)
    return _reference(bundle, questions, tuple(calls))


def read_reference(
    path: Path, bundle: Bundle, questions: Sequence[CalibrationQuestion]
) -> Reference:
    """Read decisions that were saved.

    Raises:
        InputError: it is not such a file, or of another model, another profile, other questions.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is too large for a file of decisions")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error
    read = read_dataclass(Reference, parse_json(text, str(path)), str(path), _LIMITS)
    expected = _reference(bundle, questions, read.calls)
    for name, what in (
        ("format", "is not a file of decisions"),
        ("model_sha256", "is of a model of another shape"),
        ("profile_sha256", "was measured under another profile"),
        ("questions_sha256", "was measured on other questions"),
    ):
        if getattr(read, name) != getattr(expected, name):
            raise InputError(f"{path} {what}: measure the reference again")
    if len(read.calls) != len(questions):
        raise InputError(f"{path} is damaged: measure the reference again")
    return read


def _reference(
    bundle: Bundle, questions: Sequence[CalibrationQuestion], calls: tuple[bool | None, ...]
) -> Reference:
    manifest = bundle.manifest
    return Reference(
        _FORMAT,
        _sha256(asdict(_shape(manifest.model))),
        _profile_sha256(manifest.protocol),
        _sha256([[asked.question, _picture_sha256(asked.image)] for asked in questions]),
        calls,
    )


def _check_model(place: str, spec: ModelSpec, bundle: Bundle) -> None:
    own = bundle.manifest.model
    if _shape(spec) != _shape(own):
        raise InputError(
            f"{place} is another model ({_describe(spec)}) than the bundle ({_describe(own)}): "
            "give the checkpoint that the bundle was exported from"
        )


def _describe(spec: ModelSpec) -> str:
    return f"{spec.layers} layers, hidden {spec.hidden_size}, vocabulary {spec.vocabulary}"


def _shape(spec: ModelSpec) -> ModelSpec:
    return replace(spec, name="", license="", base_model="")


def _profile_sha256(profile: ProtocolProfile) -> str:
    # Names and sources do not affect what a model is shown.
    return _sha256(asdict(replace(profile, name="", checkpoints=(), about="")))


def _picture_sha256(image: ImageSource) -> str:
    """Hash of a file as it is, so that decoders may differ; of other pictures, of their pixels."""
    if not isinstance(image, (str, Path)):
        return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()
    try:
        return hashlib.sha256(Path(image).read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(f"cannot read {image}: {error.strerror or error}") from error


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
