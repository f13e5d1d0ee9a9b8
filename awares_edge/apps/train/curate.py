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
    from awares_edge.training.formats import FormatName


def curate(
    checkpoint: Annotated[Path, typer.Argument(help="Bundle or checkpoint that answers.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Trajectories (JSONL) to write.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Rows (JSONL: image, question, answer, boxes). Default: synthetic."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Synthetic questions.")] = 2000,
    seed: SeedOption = 0,
    judge: JudgeOption = "exact",
    judge_model: JudgeModelOption = "",
    oracle: Annotated[OracleName, typer.Option(help="Where evidence comes from.")] = "known",
    oracle_model: Annotated[str, typer.Option(help="Oracle: the endpoint's model name.")] = "",
    endpoint: EndpointOption = "",
    key: KeyOption = "",
    rule: Annotated[
        CropRule, typer.Option(help="From boxes to crops: coverage (ours) or iou (published).")
    ] = "coverage",
    threshold: Annotated[
        float | None, amount("Of the rule. Default: 0.95 coverage, 0.5 IoU.", low=0.01, high=1.0)
    ] = None,
    runtime: RuntimeOption = None,
    protocol: Annotated[
        str | None, typer.Option(help="Protocol profile of the model: a name or a file.")
    ] = None,
    form: Annotated[
        OutputFormat,
        typer.Option(
            "--format",
            help="Also write a folder beside the output (t.jsonl: t.swift) for ms-swift, "
            "LLaMA-Factory (sharegpt) or TRL.",
        ),
    ] = "trajectories",
    tool_weight: ToolWeightOption = 5.0,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Label questions LR or HR from the model's own answers; an interrupted run goes on."""
    require_training()
    check_output(output)
    dataset = None if form == "trajectories" else output.with_suffix(f".{form}")
    if dataset:
        refuse_existing(dataset)
    from awares_edge.training.answerer import ControllerAnswerer
    from awares_edge.training.curate import CurationReport, finished
    from awares_edge.training.curate import curate as run
    from awares_edge.training.run import pin_settings
    from awares_edge.training.trajectories import read_rows, synthetic_rows

    report = CurationReport(warn)
    rows = synthetic_rows("train", seed, count) if data is None else read_rows(data, report.skip)
    folder = data.parent if data else output.parent
    if endpoint and "endpoint" not in (judge, oracle):
        raise InputError("--endpoint is for --judge endpoint or --oracle endpoint: leave it out")
    chosen = make_judge(judge, judge_model, endpoint, key)
    evidence = make_oracle(oracle, oracle_model, endpoint, key)
    begun = bool(finished(output))
    with (
        load_model(checkpoint, runtime, protocol, device, threads, None) as model,
        progress_bar() as update,
    ):
        pin_settings(
            output.with_name(f"{output.name}.run.json"),
            {
                "checkpoint": checkpoint, "data": data, "seed": seed, "judge": chosen.name,
                "oracle": evidence.name, "rule": rule, "threshold": threshold,
                "protocol": protocol, "runtime": runtime,
            },
            begun=begun,
        )  # fmt: skip
        run(
            rows, folder, output, ControllerAnswerer(model), chosen, evidence,
            rule=rule, threshold=threshold, report=report,
            progress=lambda r: update("curating", r.kept, count if data is None else r.kept),
        )  # fmt: skip
        profile, preprocessing = model.protocol, model.preprocessing
    say(
        f"{report.kept} rows written ({report.labels['LR']} LR, {report.labels['HR']} HR), "
        f"{report.resumed} were there, {report.skipped} skipped: {output}"
    )
    if dataset:
        write_dataset(
            output, dataset, cast("FormatName", form), profile, preprocessing, tool_weight
        )
