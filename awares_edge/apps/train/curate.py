"""`awares-edge train curate`: labels from the model's own answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from awares_edge.apps.console import progress_bar, say, warn
from awares_edge.apps.options import DeviceOption, RuntimeOption, ThreadsOption, load_model
from awares_edge.apps.train.convert import refuse_existing, write_dataset
from awares_edge.apps.train.options import (
    EndpointOption,
    JudgeModelOption,
    JudgeName,
    JudgeOption,
    KeyOption,
    OracleName,
    OutputFormat,
    SeedOption,
    ToolWeightOption,
    amount,
    make_judge,
    make_oracle,
    require_training,
)
from awares_edge.errors import InputError
from awares_edge.files import check_output
from awares_edge.training.crop_rules import CropRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awares_edge.training.curate import CurationReport
    from awares_edge.training.formats import FormatName
    from awares_edge.training.judges import Judge
    from awares_edge.training.oracles import Oracle
    from awares_edge.training.trajectories import Row

CheckpointArgument = Annotated[Path, typer.Argument(help="Bundle or checkpoint that answers.")]
OutputOption = Annotated[Path, typer.Option("--out", "-o", help="Trajectories (JSONL) to write.")]
DataOption = Annotated[
    Path | None,
    typer.Option(help="Rows (JSONL: image, question, answer, boxes). Default: synthetic."),
]
CountOption = Annotated[int, typer.Option(min=1, help="Synthetic questions.")]
OracleOption = Annotated[OracleName, typer.Option(help="Where evidence comes from.")]
OracleModelOption = Annotated[str, typer.Option(help="Oracle: the endpoint's model name.")]
RuleOption = Annotated[
    CropRule, typer.Option(help="From boxes to crops: coverage (ours) or iou (published).")
]
ThresholdOption = Annotated[
    float | None, amount("Of the rule. Default: 0.95 coverage, 0.5 IoU.", low=0.01, high=1.0)
]
ProtocolOption = Annotated[
    str | None, typer.Option(help="Protocol profile of the model: a name or a file.")
]
FormatOption = Annotated[
    OutputFormat,
    typer.Option(
        "--format",
        help="Also write a folder beside the output (t.jsonl: t.swift) for ms-swift, "
        "LLaMA-Factory (sharegpt) or TRL.",
    ),
]


def curate(
    checkpoint: CheckpointArgument,
    output: OutputOption,
    data: DataOption = None,
    count: CountOption = 2000,
    seed: SeedOption = 0,
    judge: JudgeOption = "exact",
    judge_model: JudgeModelOption = "",
    oracle: OracleOption = "known",
    oracle_model: OracleModelOption = "",
    endpoint: EndpointOption = "",
    key: KeyOption = "",
    rule: RuleOption = "coverage",
    threshold: ThresholdOption = None,
    runtime: RuntimeOption = None,
    protocol: ProtocolOption = None,
    form: FormatOption = "trajectories",
    tool_weight: ToolWeightOption = 5.0,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Label questions LR or HR from the model's own answers; an interrupted run continues."""
    require_training()
    check_output(output)
    dataset = _new_dataset(output, form)
    from awares_edge.training.answerer import ControllerAnswerer
    from awares_edge.training.curate import CurationReport, finished
    from awares_edge.training.curate import curate as run
    from awares_edge.training.run import pin_settings

    report = CurationReport(warn)
    rows = _rows(data, seed, count, report)
    folder = data.parent if data else output.parent
    chosen, evidence = _judge_and_oracle(judge, judge_model, oracle, oracle_model, endpoint, key)
    settings = {
        "checkpoint": checkpoint, "data": data, "seed": seed, "judge": chosen.name,
        "oracle": evidence.name, "rule": rule, "threshold": threshold,
        "protocol": protocol, "runtime": runtime,
    }  # fmt: skip
    begun = bool(finished(output))
    with (
        load_model(checkpoint, runtime, protocol, device, threads, None) as model,
        progress_bar() as update,
    ):
        pin_settings(output.with_name(f"{output.name}.run.json"), settings, begun=begun)
        run(
            rows, folder, output, ControllerAnswerer(model), chosen, evidence,
            rule=rule, threshold=threshold, report=report,
            progress=lambda r: update("curating", r.kept, count if data is None else r.kept),
        )  # fmt: skip
        profile, preprocessing = model.protocol, model.preprocessing
    _say_counts(report, output)
    if dataset:
        chosen_format = cast("FormatName", form)
        write_dataset(output, dataset, chosen_format, profile, preprocessing, tool_weight)


def _new_dataset(output: Path, form: OutputFormat) -> Path | None:
    """The folder beside the output for another trainer's format; None for none.

    Raises:
        InputError: it exists, or cannot be written.
    """
    if form == "trajectories":
        return None
    folder = output.with_suffix(f".{form}")
    refuse_existing(folder)
    return folder


def _rows(data: Path | None, seed: int, count: int, report: CurationReport) -> Iterable[Row]:
    """The questions to label: those of a file, or synthetic ones."""
    from awares_edge.training.trajectories import read_rows, synthetic_rows

    if data is None:
        return synthetic_rows("train", seed, count)
    return read_rows(data, report.skip)


def _judge_and_oracle(
    judge: JudgeName,
    judge_model: str,
    oracle: OracleName,
    oracle_model: str,
    endpoint: str,
    key: str,
) -> tuple[Judge, Oracle]:
    """The judge and the oracle that the options describe.

    Raises:
        InputError: the options contradict each other.
    """
    if endpoint and "endpoint" not in (judge, oracle):
        raise InputError("--endpoint is for --judge endpoint or --oracle endpoint: leave it out")
    return (
        make_judge(judge, judge_model, endpoint, key),
        make_oracle(oracle, oracle_model, endpoint, key),
    )


def _say_counts(report: CurationReport, output: Path) -> None:
    say(
        f"{report.kept} rows written ({report.labels['LR']} LR, {report.labels['HR']} HR), "
        f"{report.resumed} were there, {report.skipped} skipped: {output}"
    )
