"""Options of `awares-edge evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from awares_edge.apps.options import refuse
from awares_edge.camera.sheet.captured import CapturedSheets
from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks import BENCHMARKS
from awares_edge.evaluation.modes import EXTRA_MODES, MODES, get_mode
from awares_edge.evaluation.scorers import SCORERS, Scorer
from awares_edge.evaluation.suites import SynthSuite
from awares_edge.evaluation.synthetic import PictureControl
from awares_edge.synth.capture import LEVELS, Level
from awares_edge.synth.generate import FAMILIES, HELD_BACK, Split

WHAT = f"{', '.join(BENCHMARKS)}; synth; all (the six benchmarks); or a FILE.jsonl of your own"


What: TypeAlias = Annotated[str | None, typer.Argument(help=f"{WHAT}.", show_default=False)]
Data: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Folder with the published parquet files, or a data set on the Hugging Face hub. "
        "Default: the published one, downloaded on first use.",
    ),
]
Mode: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help=f"One of {', '.join((*MODES, *EXTRA_MODES))}; may be repeated. Default: awares. "
        "prune:R keeps the share R of the whole picture's visual tokens (torch runtime)."
    ),
]
Modes: TypeAlias = Annotated[
    str | None, typer.Option(help="Several modes: awares,full,low.", show_default=False)
]
AllModes: TypeAlias = Annotated[
    bool, typer.Option("--all-modes", help=f"{', '.join(MODES)}, in one table.")
]
Limit: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Most questions, from the first one on. Default: all; synth: 2000."),
]
Shard: TypeAlias = Annotated[
    str | None, typer.Option(help="Ask one part of the questions, such as 1/4; see --merge.")
]
Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Continue the run in the output folder.")
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, max=64, help="Threads that decode pictures ahead. Default: 1."),
]
ScorerOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help=f"Version of lmms-eval whose rules to use: {' or '.join(SCORERS)} (default)."
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Folder for the results. Default: awares-evaluation; synth: none."
    ),
]
Seed: TypeAlias = Annotated[
    int | None, typer.Option(min=0, help="synth: seed of the questions. Default: 0.")
]
SplitOption: TypeAlias = Annotated[
    Split | None, typer.Option(help="synth: split to draw from. Default: test.")
]
Family: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="synth: only these families; held-back ones too. Default: trained ones."),
]
Control: TypeAlias = Annotated[
    PictureControl | None,
    typer.Option(
        help="synth: show a blank or another picture instead, to see what guessing gives."
    ),
]
CaptureOption: TypeAlias = Annotated[
    Level | None,
    typer.Option(
        help="synth: print the pictures as sheets and hold them before a simulated camera "
        f"({', '.join(LEVELS)}); ask about the sheets that are read."
    ),
]
NoRectify: TypeAlias = Annotated[
    bool,
    typer.Option("--no-rectify", help="synth: show captured sheets as the camera sees them."),
]
Save: TypeAlias = Annotated[
    Path | None, typer.Option(help="synth: write every question's outcome to this JSONL file.")
]
PictureOption: TypeAlias = Annotated[
    Path | None, typer.Option(help="Draw accuracy against RTR to this file (.png, .svg, .pdf).")
]
Compare: TypeAlias = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        help="Compare the results in two folders (McNemar's test) and ask nothing.",
        show_default=False,
    ),
]
Merge: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of a shard's results; repeat for each, and give -o. Asks nothing."),
]


@dataclass(frozen=True, slots=True)
class SynthOptions:
    """Which synthetic questions to ask."""

    split: Split = "test"
    seed: int = 0
    limit: int = 2000
    families: tuple[str, ...] = ()
    control: PictureControl = "right"
    view: CapturedSheets | None = None

    def suite(self) -> SynthSuite:
        """These questions as a suite."""
        return SynthSuite(self.split, self.seed, self.limit, self.families, self.control, self.view)


def synth_options(
    what: str,
    split: Split | None,
    seed: int | None,
    limit: int | None,
    families: list[str] | None,
    control: PictureControl | None,
    capture: Level | None,
    no_rectify: bool,
) -> SynthOptions | None:
    """The synthetic questions to ask; None for another suite.

    Raises:
        InputError: no such family; or an option of synth for another suite.
        RuntimeUnavailable: reading captured sheets needs a package that is missing.
    """
    if what != "synth":
        only = "is for synth: leave it out"
        refuse(only, split=split, seed=seed, family=families, control=control, capture=capture)
    if capture is None:
        refuse("is for captured sheets: give --capture too", no_rectify=no_rectify)
    if what != "synth":
        return None
    for name in families or ():
        if name not in FAMILIES and name not in HELD_BACK:
            known = ", ".join([*FAMILIES, *HELD_BACK])
            raise InputError(f"no family {name!r}: choose from {known}")
    return SynthOptions(
        split or "test",
        seed or 0,
        limit or 2000,
        tuple(families or ()),
        control or "right",
        CapturedSheets(capture, seed or 0, not no_rectify) if capture else None,
    )


def chosen_modes(mode: list[str] | None, modes: str | None, all_modes: bool) -> list[str]:
    """Modes to measure, in the order given, each once.

    Raises:
        InputError: no such mode, or more than one way to name them.
    """
    if all_modes:
        if mode or modes:
            raise InputError("--all-modes measures every mode: leave --mode out")
        return list(MODES)
    names = [*(mode or ()), *(modes.split(",") if modes is not None else ())]
    return list(dict.fromkeys(get_mode(name.strip()) for name in names or ["awares"]))


def get_scorer(name: str | None) -> Scorer:
    """The scorer of this name; the newest for None.

    Raises:
        InputError: there is none.
    """
    for scorer in SCORERS:
        if name == scorer:
            return scorer
    if name is None:
        return SCORERS[-1]
    raise InputError(f"no scorer {name!r}: choose one of {', '.join(SCORERS)}")
