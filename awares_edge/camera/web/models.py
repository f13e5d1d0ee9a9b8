"""Bundles and runtimes to choose from, and the change to another one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awares_edge.controller import Model
from awares_edge.errors import AwaresError, InputError
from awares_edge.runtimes.registry import RUNTIMES, Entry
from awares_edge.schema import shown

MAX_BUNDLES = 64


@dataclass(frozen=True, slots=True)
class BundleChoice:
    """A bundle that may be chosen.

    Attributes:
        name: what a page calls it; unique.
        path: its folder; never taken from a page.
    """

    name: str
    path: Path


class ModelChoices:
    """The model in use, and what may take its place.

    A page names a choice; the folders come from the command line only.

    Args:
        model: the first one, which this object closes, as it does all others.
        bundle, runtime: names of the first one.
        load: loads a bundle's folder on a runtime.
    """

    def __init__(
        self,
        model: Model,
        bundles: Sequence[BundleChoice],
        bundle: str,
        load: Callable[[Path, str], Model],
    ) -> None:
        self.model = model
        self._bundles = {choice.name: choice for choice in bundles}
        self._bundle, self._runtime = bundle, model.runtime.name
        self._load = load
        self._changing = threading.Lock()

    def describe(self) -> dict[str, Any]:
        """What a page shows of the model in use."""
        runtime = self.model.runtime
        return {
            "bundle": self._bundle,
            "runtime": runtime.name,
            "precision": runtime.precision,
            "device": runtime.device,
            "protocol": self.model.protocol.name,
        }

    def choices(self) -> dict[str, Any]:
        """What may be chosen: each runtime with the reason why it cannot be used here, if any."""
        return {
            "bundle": self._bundle,
            "bundles": [{"name": name} for name in self._bundles],
            "runtime": self._runtime,
            "runtimes": [
                {"name": entry.name, "reason": _reason(entry)}
                for entry in RUNTIMES.values()
                if entry.name != "null" or self._runtime == "null"
            ],
        }

    def change(self, bundle: str, runtime: str, use: Callable[[Model], None]) -> None:
        """Load another model and put it in the place of the one in use, which is then closed.

        Args:
            use: hands the new model to whoever works with it, and returns when the old one is
                no longer used.

        Raises:
            InputError: no such choice, or another change is going on.
            AwaresError: it cannot be loaded; the model in use stays.
        """
        if bundle not in self._bundles:
            raise InputError(f"no bundle {shown(bundle)} to choose from")
        if runtime not in RUNTIMES:
            raise InputError(f"no runtime {shown(runtime)}")
        if not self._changing.acquire(blocking=False):
            raise InputError("another model is being loaded: wait for it")
        try:
            model = self._load(self._bundles[bundle].path, runtime)
            try:
                use(model)
            except AwaresError:
                model.close()
                raise
            old, self.model = self.model, model
            self._bundle, self._runtime = bundle, runtime
            old.close()
        finally:
            self._changing.release()

    def close(self) -> None:
        """Close the model in use; call it after whoever works with it."""
        self.model.close()


def _reason(entry: Entry) -> str:
    """Why a runtime cannot be used here; empty where it can."""
    return f"needs {', '.join(entry.missing)}" if entry.missing else ""


def find_bundles(given: Path | None, embedded: Path) -> tuple[BundleChoice, ...]:
    """The given bundle, others beside it, and the embedded one; the one in use comes first."""
    folders = [] if given is None else [given.resolve()]
    if given is not None:
        near = sorted(p.parent for p in given.resolve().parent.glob("*/manifest.json"))
        folders += [folder for folder in near if folder not in folders]
    choices: dict[str, BundleChoice] = {}
    for folder in folders[:MAX_BUNDLES]:
        choices.setdefault(folder.name, BundleChoice(folder.name, folder))
    choices.setdefault("nano (embedded)", BundleChoice("nano (embedded)", embedded))
    return tuple(choices.values())
