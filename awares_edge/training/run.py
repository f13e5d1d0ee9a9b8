"""What every training run does: record its settings, read its rows, save its result."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from awares_edge.errors import ImageError, QuestionError
from awares_edge.files import whole_file, whole_folder
from awares_edge.protocol.prompt import check_question
from awares_edge.training.errors import TrainingError
from awares_edge.training.loading import Loaded
from awares_edge.training.trajectories import Trajectory, open_image, read_trajectories

Progress = Callable[[int, int], None]
"""Called with the number of steps done and of all steps."""

_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "generation_config.json",
)


def pin_settings(path: Path, settings: Mapping[str, Any], *, begun: bool) -> None:
    """Write a new run's settings to ``path``, or check that a run that has ``begun`` keeps its own.

    Raises:
        TrainingError: the file names other settings.
    """
    plain = json.loads(json.dumps(settings, default=lambda path: str(Path(path).resolve())))
    if begun and path.exists():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            other = sorted(k for k in {*plain, *old} if plain.get(k) != old.get(k))
        except (ValueError, TypeError, AttributeError) as error:
            raise TrainingError(f"{path} cannot be read: choose another output") from error
        if other:
            raise TrainingError(
                f"{path} says that this run was begun with "
                f"{', '.join(f'{k} = {old.get(k)}' for k in other)}: give the same to resume, or "
                "another output"
            )
        return
    with whole_file(path) as file:
        file.write((json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())


def usable_rows(path: Path, report: Callable[[str], None]) -> list[Trajectory]:
    """Trajectories whose pictures open and whose questions can be asked; others are reported.

    Raises:
        TrainingError: none is left.
    """
    good = []
    for row in read_trajectories(path, report):
        try:
            check_question(row.question)
            open_image(row.image, path.parent)
        except (ImageError, QuestionError) as error:
            report(f"{row.id}: {error}")
            continue
        good.append(row)
    if not good:
        raise TrainingError(f"{path} has no usable trajectory")
    return good


def fingerprint(rows: Sequence[Trajectory]) -> str:
    """A hash of trajectories: a run may only be resumed over the same ones."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.to_json().encode())
    return digest.hexdigest()[:16]


def save_final(loaded: Loaded, folder: Path) -> Path:
    """Write the weights (or the adapter) and the start's tokenizer and configuration files."""
    model = loaded.model
    with whole_folder(folder) as staging:
        if loaded.adapted:
            model.save_pretrained(staging, selected_adapters=["default"])
        else:
            model.save_pretrained(staging)
        for name in _COPIED:
            if (loaded.folder / name).is_file():
                shutil.copy(loaded.folder / name, staging / name)
    return folder
