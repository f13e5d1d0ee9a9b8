"""What `awares-edge parity` compares: recordings read from files, or made by asking models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from awares_edge.apps.console import progress_bar
from awares_edge.apps.options import load_model, open_endpoint
from awares_edge.bundle.store import Bundle
from awares_edge.controller.model import Model
from awares_edge.evaluation.machine import describe_machine, manifest_sha256, versions
from awares_edge.evaluation.parity import Recording, record
from awares_edge.evaluation.parity.endpoint import record_endpoint
from awares_edge.evaluation.parity.questions import Questions
from awares_edge.spec import MANIFEST_NAME


@dataclass(frozen=True, slots=True)
class Recorder:
    """Asks each model the same questions in the same way.

    Attributes:
        saved: recordings that were read from files, by path.
        questions: what models are asked; None only where every recording is saved.
        protocol, device, threads: as in `load_model`.
        probes: questions of which pixels, features and logits are kept.
        max_new_tokens: most tokens of one turn of the reference; candidates get as many as it had.
    """

    saved: dict[Path, Recording]
    questions: Questions | None
    protocol: str | None
    device: str | None
    threads: int | None
    probes: int
    max_new_tokens: int

    def record(self, path: Path, reference: Recording | None = None) -> Recording:
        """The recording of a checkpoint or bundle folder, or of a saved file.

        Args:
            reference: for a candidate, the recording whose tokens it is made to follow.
        """
        if path in self.saved:
            return self.saved[path]
        assert self.questions is not None
        new_tokens = reference.about["max_new_tokens"] if reference else self.max_new_tokens
        name, runtime = path.resolve().name, runtime_name(path)
        with (
            load_model(path, runtime, self.protocol, self.device, self.threads, None) as model,
            progress_bar() as update,
        ):
            return record(
                model,
                {"model": name, **self._about_model(path, model), **_about_run()},
                self.questions,
                probes=self.probes,
                forced=reference,
                max_new_tokens=new_tokens,
                progress=lambda done, total: update(name, done, total),
            )

    def record_endpoint(self, url: str, name: str | None, reference: Recording) -> Recording:
        """What a server says to the reference's questions; it shows no logits."""
        assert self.questions is not None
        protocol = self.protocol or str(reference.about["protocol"])
        with open_endpoint(url, name, protocol) as model, progress_bar() as update:
            return record_endpoint(
                model,
                _about_run(),
                self.questions,
                reference,
                progress=lambda done, total: update(model.about.name, done, total),
            )

    def _about_model(self, path: Path, model: Model) -> dict[str, Any]:
        return {
            "manifest_sha256": manifest_sha256(path),
            "runtime": model.runtime.name,
            "precision": model.runtime.precision,
            "device": model.runtime.device,
            "threads": self.threads,
        }


def runtime_name(path: Path) -> str:
    """The runtime that reads a checkpoint or bundle folder."""
    if not (path / MANIFEST_NAME).exists() and (path / "config.json").is_file():
        return "torch"
    return Bundle.open(path, verify=False).manifest.runtime


def _about_run() -> dict[str, Any]:
    """On what machine a recording is made, with what packages, and when (UTC)."""
    return {
        "machine": describe_machine(),
        "versions": versions(),
        "recorded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
