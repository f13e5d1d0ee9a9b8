"""What a bundle's `manifest.json` says: model, protocol, pixels, tokens, files, provenance."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from awares_edge.bundle.limits import LIMITS
from awares_edge.bundle.rules import check_rules
from awares_edge.bundle.schema import parse_json, read_dataclass
from awares_edge.bundle.version1 import upgrade_profile
from awares_edge.errors import BundleError
from awares_edge.protocol.calibration import Calibration
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.tokenizer import SpecialTokens
from awares_edge.spec import MANIFEST_NAME, TOKENIZER_NAME, ModelSpec
from awares_edge.vision.patches import Preprocessing

FORMAT = "awares-edge-bundle"
FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle: its size in bytes and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A bundle's table of contents.

    Attributes:
        runtime: name of the runtime the files are for.
        precision: of the weights ("fp32", "fp16", ...).
        provenance: where it came from: checkpoint, adapter, tool versions.
        calibration: fitted for these files under this profile; None for none.
    """

    runtime: str
    precision: str
    model: ModelSpec
    protocol: ProtocolProfile
    preprocessing: Preprocessing
    tokens: SpecialTokens
    files: dict[str, FileEntry]
    provenance: dict[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None

    def to_json(self) -> str:
        """Canonical text: the same bundle gives the same bytes on every machine.

        Raises:
            BundleError: a value that `from_json` would refuse.
        """
        body: dict[str, Any] = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(self)}
        if self.calibration is None:
            del body["calibration"]
        text = json.dumps(body, indent=1, sort_keys=True, ensure_ascii=True) + "\n"
        self.from_json(text)
        return text

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read a manifest.

        Raises:
            BundleError: not a manifest of this version, or a value out of range
                (`bundle.limits`, `bundle.rules`).
        """
        body = parse_json(text, MANIFEST_NAME)
        if body.pop("format", None) != FORMAT:
            raise BundleError(f"{MANIFEST_NAME} does not describe an awares-edge bundle")
        version = body.pop("version", None)
        if type(version) is not int or version not in (1, FORMAT_VERSION):
            newer = type(version) is int and version > FORMAT_VERSION
            advice = "update awares-edge" if newer else "export the checkpoint again"
            found = str(version)[:20] if type(version) is int else "unknown"
            raise BundleError(
                f"the bundle has format version {found}, this awares-edge reads 1 "
                f"and {FORMAT_VERSION}: {advice}"
            )
        if version == 1:
            body["protocol"] = upgrade_profile(body.get("protocol"))
        manifest = read_dataclass(cls, body, "manifest", LIMITS)
        check_rules(manifest)
        if not manifest.calibration_fits():
            raise BundleError(
                f"the calibration in {MANIFEST_NAME} is of another checkpoint or profile: remove "
                "it from the manifest, and calibrate this bundle"
            )
        return manifest

    def calibration_fits(self) -> bool:
        """Whether the calibration, if there is one, was fitted for these files and this profile."""
        fitted = self.calibration
        return fitted is None or (
            TOKENIZER_NAME in self.files
            and (fitted.protocol_sha256, fitted.files_sha256)
            == (self.protocol_sha256, self.files_sha256)
        )

    @property
    def sha256(self) -> str:
        """One hash over the whole manifest, which pins every file by its hash."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def files_sha256(self) -> str:
        """One hash over all files."""
        listed = {name: entry.sha256 for name, entry in self.files.items()}
        return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()

    @property
    def protocol_sha256(self) -> str:
        """One hash over all that decides what the model is shown and how its text is read."""
        pinned = {
            "protocol": asdict(self.protocol),
            "preprocessing": asdict(self.preprocessing),
            "tokens": asdict(self.tokens),
            "tokenizer": asdict(self.files[TOKENIZER_NAME]),
        }
        text = json.dumps(pinned, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
