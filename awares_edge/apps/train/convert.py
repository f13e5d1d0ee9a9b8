"""`awares-edge train convert`: trajectories for ms-swift, LLaMA-Factory and TRL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from awares_edge.apps.console import say, warn
from awares_edge.apps.train.options import ToolWeightOption, TrainedProtocol, TrajectoriesArgument
from awares_edge.errors import InputError
from awares_edge.files import check_output_folder

if TYPE_CHECKING:
    from awares_edge.protocol import ProtocolProfile
    from awares_edge.vision import Preprocessing

FormatChoice = Literal["swift", "sharegpt", "trl"]


def convert(
    trajectories: TrajectoriesArgument,
    form: Annotated[
        FormatChoice,
        typer.Option("--format", help="For ms-swift, LLaMA-Factory (sharegpt) or TRL."),
    ],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    protocol: TrainedProtocol = "paper",
    tool_weight: ToolWeightOption = 5.0,
) -> None:
    """Write trajectories as a data set for another trainer, pictures cut and sized for it."""
    from awares_edge.protocol import get_profile

    refuse_existing(output)
    write_dataset(trajectories, output, form, get_profile(protocol), None, tool_weight)


def refuse_existing(folder: Path) -> None:
    """Find out before the work whether the data set can be written.

    Raises:
        InputError: something stands there, or the folder above cannot be written to.
    """
    check_output_folder(folder)
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists: choose another folder")


def write_dataset(
    trajectories: Path,
    folder: Path,
    form: FormatChoice,
    profile: ProtocolProfile,
    preprocessing: Preprocessing | None,
    tool_weight: float,
) -> None:
    """Convert a file of trajectories, and say what was written and how to train on it."""
    from awares_edge.training.formats import ConversionReport, get_format
    from awares_edge.training.formats import convert as run
    from awares_edge.training.trajectories import read_trajectories

    chosen, report = get_format(form), ConversionReport(warn)
    run(
        read_trajectories(trajectories, report.skip), trajectories.parent, folder, chosen, profile,
        preprocessing=preprocessing, tool_weight=tool_weight, report=report,
    )  # fmt: skip
    say(
        f"{report.written} rows written ({report.calls} with a call), {report.pictures} pictures, "
        f"{len(report.reasons)} skipped: {folder}"
    )
    if not chosen.weighs and tool_weight != 1.0:
        warn(f"{form} has no weights of messages: the call will weigh 1, not {tool_weight:g}")
    say(f"train: {chosen.next_step.format(folder=folder)}")
