"""Models to choose from, and the change to another one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awares_edge.bundle.store import Bundle
from awares_edge.controller import Askable
from awares_edge.errors import AwaresError, InputError
from awares_edge.runtimes.registry import RUNTIMES
from awares_edge.schema import shown
from awares_edge.spec import MANIFEST_NAME

MAX_MODELS = 64


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that may be chosen: a bundle, which is made for one runtime.

    Attributes:
        name: what a page calls it; unique.
        path: its folder; never taken from a page.
        runtime: that reads it.
        detail: such as "onnx, int8".
        reason: why it cannot be used here; empty where it can.
    """

    name: str
    path: Path
    runtime: str
    detail: str
    reason: str = ""


class ModelChoices:
    """The model in use, and what may take its place.

    A page names a choice; the folders come from the command line only.

    Args:
        model: the first one. This object closes it, and all others.
        choices: the first is the one in use.
        load: loads a choice.
    """

    def __init__(
        self, model: Askable, choices: Sequence[ModelChoice], load: Callable[[ModelChoice], Askable]
    ) -> None:
        self.model, self._load = model, load
        self._choices = {choice.name: choice for choice in choices}
        self._name = choices[0].name
        self._changing = threading.Lock()

    def describe(self) -> dict[str, str]:
        """What a page shows of the model in use."""
        about = self.model.about
        return {
            "name": self._name,
            "runtime": about.runtime,
            "precision": about.precision,
            "device": about.device,
            "protocol": self.model.protocol.name,
        }

    def choices(self) -> list[dict[str, Any]]:
        """What may be chosen."""
        return [
            {"name": choice.name, "detail": choice.detail, "reason": choice.reason}
            for choice in self._choices.values()
        ]

    def change(self, name: str, use: Callable[[Askable], None]) -> None:
        """Load another model in the place of the one in use, which is then closed.

        Both are in memory for a moment, so that a model that cannot be loaded costs nothing.

        Args:
            use: called with the new model; returns when the old one is
                no longer used.

        Raises:
            InputError: no such choice, or another model is being loaded.
            AwaresError: it cannot be loaded; the model in use stays.
        """
        choice = self._choices.get(name)
        if choice is None:
            raise InputError(f"no model {shown(name)} to choose from")
        if not self._changing.acquire(blocking=False):
            raise InputError("another model is being loaded: wait for it")
        try:
            model = self._load(choice)
            use(model)
            old, self.model, self._name = self.model, model, name
            old.close()
        finally:
            self._changing.release()

    def close(self) -> None:
        """Close the model in use; call it when nothing uses the model any more."""
        self.model.close()


def find_models(given: Iterable[Path], embedded: Path) -> tuple[ModelChoice, ...]:
    """The given bundles and those in the same folders, then the embedded one.

    Folders that are not readable bundles are left out.
    """
    folders = list(dict.fromkeys(path.resolve() for path in given))
    near = [path for folder in folders for path in sorted(folder.parent.glob(f"*/{MANIFEST_NAME}"))]
    folders = list(dict.fromkeys([*folders, *(path.parent for path in near), embedded.resolve()]))
    found: dict[str, ModelChoice] = {}
    for folder in folders[:MAX_MODELS]:
        name = "nano (embedded)" if folder == embedded.resolve() else folder.name
        while name in found:
            name = f"{folder.parent.name}/{name}"
        if (choice := _choice(name, folder)) is not None:
            found[name] = choice
    return tuple(found.values())


def _choice(name: str, folder: Path) -> ModelChoice | None:
    try:
        manifest = Bundle.open(folder, verify=False).manifest
    except AwaresError:
        return None
    entry = RUNTIMES.get(manifest.runtime)
    if entry is None:
        return None
    lacking = entry.missing
    reason = f"needs {', '.join(lacking)}: {entry.install}" if lacking else ""
    detail = f"{manifest.runtime}, {manifest.precision}"
    return ModelChoice(name, folder, manifest.runtime, detail, reason)
