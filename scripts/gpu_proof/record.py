"""The results so far: one JSON file, written whole after every stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from awares_edge.errors import InputError
from awares_edge.files import whole_file
from scripts.gpu_proof.stages import Stage

FORMAT, VERSION = "awares-edge-gpu-proof", 1
State = Literal["done", "failed", "not executed"]


@dataclass(frozen=True)
class Outcome:
    """How a stage ended.

    Attributes:
        reason: one line; empty where it is done.
        peak_gpu_bytes: most GPU memory in use meanwhile, above what was in use before; None where
            it was not measured.
        result: what the stage found; also of a stage that failed, where it found something.
        log: the end of what a failed stage printed.
    """

    state: State
    reason: str = ""
    seconds: float = 0.0
    peak_gpu_bytes: int | None = None
    result: Any = None
    log: str = ""


class Record:
    """Outcomes by name of the stage, in the order in which the stages ended.

    Args:
        path: the JSON file.
        about: what the run was: device, budget, size.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path = path
        self.about = about
        self.outcomes: dict[str, Outcome] = {}

    def resume(self, stages: Sequence[Stage], work: Path) -> None:
        """Keep what an earlier run with the same settings has finished.

        A stage whose file has gone from the work folder since is run again.

        Raises:
            InputError: the file is not a record, or of a run with other settings.
        """
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            same = data["format"] == FORMAT and data["version"] == VERSION
            ended = {row.pop("stage"): row for row in data["stages"]}
            settings = {name: data[name] for name in ("device", "rehearsal")}
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._path} is not a record: leave --resume out") from error
        if not same or settings != {name: self.about[name] for name in settings}:
            raise InputError(f"{self._path} is of another run: leave --resume out")
        for stage in stages:
            row = ended.get(stage.name)
            gone = stage.makes and not (work / stage.makes).exists()
            if row and row["state"] == "done" and not gone:
                row.pop("group")
                self.outcomes[stage.name] = Outcome(**row)

    def add(self, stages: Sequence[Stage], name: str, outcome: Outcome) -> None:
        """Note an outcome, and write the file."""
        self.outcomes[name] = outcome
        with whole_file(self._path) as file:
            file.write((json.dumps(self.to_dict(stages), indent=1) + "\n").encode())

    def to_dict(self, stages: Sequence[Stage]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            **self.about,
            "counts": self.counts(),
            "stages": [
                {"stage": s.name, "group": s.group, **asdict(self.outcomes[s.name])}
                for s in stages
                if s.name in self.outcomes
            ],
        }

    def counts(self) -> dict[str, int]:
        states = [outcome.state for outcome in self.outcomes.values()]
        return {state: states.count(state) for state in ("done", "failed", "not executed")}
