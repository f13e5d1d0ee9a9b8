"""`awares-edge train`: curation, supervised fine-tuning and GRPO."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awares_edge.apps.console import err, out, progress_bar
from awares_edge.apps.options import DeviceOption, RuntimeOption, ThreadsOption, load_model
from awares_edge.errors import InputError, RuntimeUnavailable

if TYPE_CHECKING:
    from awares_edge.training.judges import Judge
    from awares_edge.training.oracles import Oracle

app = typer.Typer(
    name="train",
    help="Train a Qwen2.5-VL checkpoint to decide when and where to look closer.",
    no_args_is_help=True,
)


class JudgeName(str, Enum):
    """Names for `--judge`."""

    exact = "exact"
    anls = "anls"
    semantic = "semantic"
    endpoint = "endpoint"


class OracleName(str, Enum):
    """Names for `--oracle`."""

    known = "known"
    endpoint = "endpoint"


class RuleName(str, Enum):
    """Names for `--rule`."""

    coverage = "coverage"
    iou = "iou"


JudgeOption = Annotated[JudgeName, typer.Option(help="How answers are compared.")]
JudgeModelOption = Annotated[
    str, typer.Option(help="Judge: a sentence-embedding folder, or the endpoint's model name.")
]
EndpointOption = Annotated[
    str, typer.Option(help="Base URL of an OpenAI-compatible server, up to /v1.")
]
KeyOption = Annotated[
    str, typer.Option(envvar="OPENAI_API_KEY", help="Bearer token of the endpoint.")
]
SmokeOption = Annotated[
    bool, typer.Option("--smoke", help="A size that runs within a minute on one CPU core.")
]
TrainedProtocol = Annotated[
    str, typer.Option(help="Protocol profile: paper, readme, evaluator, nano.")
]


@app.command("curate")
def curate(
    checkpoint: Annotated[Path, typer.Argument(help="Bundle or checkpoint that answers.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Trajectories (JSONL) to write.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Rows (JSONL: image, question, answer, boxes). Default: synthetic."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Synthetic questions.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic questions.")] = 0,
    judge: JudgeOption = JudgeName.exact,
    judge_model: JudgeModelOption = "",
    oracle: Annotated[OracleName, typer.Option(help="Where evidence comes from.")] = (
        OracleName.known
    ),
    oracle_model: Annotated[str, typer.Option(help="Oracle: the endpoint's model name.")] = "",
    endpoint: EndpointOption = "",
    key: KeyOption = "",
    rule: Annotated[
        RuleName, typer.Option(help="From boxes to crops: coverage (ours) or iou (published).")
    ] = RuleName.coverage,
    threshold: Annotated[
        float | None, typer.Option(help="Of the rule. Default: 0.95 coverage, 0.5 IoU.")
    ] = None,
    runtime: RuntimeOption = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol profile of the model.")] = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
) -> None:
    """Label questions LR or HR from the model's own answers; an interrupted run goes on."""
    _require()
    from awares_edge.training.answerer import ControllerAnswerer
    from awares_edge.training.curate import curate as run
    from awares_edge.training.trajectories import read_rows, synthetic_rows

    rows = (
        synthetic_rows("train", seed, count)
        if data is None
        else read_rows(data, lambda reason: err.print(reason, style="yellow", markup=False))
    )
    folder = data.parent if data else output.parent
    chosen = _judge(judge, judge_model, endpoint, key)
    evidence = _oracle(oracle, oracle_model, endpoint, key)
    with (
        load_model(checkpoint, runtime, protocol, device, threads, None) as model,
        progress_bar() as update,
    ):
        report = run(
            rows,
            folder,
            output,
            ControllerAnswerer(model),
            chosen,
            evidence,
            rule=rule.value,
            threshold=threshold,
            progress=lambda r: update("curating", r.kept, count if data is None else r.kept),
        )
    for reason in report.reasons:
        err.print(reason, style="yellow", markup=False)
    out.print(
        f"{report.kept} rows written ({report.labels['LR']} LR, {report.labels['HR']} HR), "
        f"{report.resumed} were there, {report.skipped} skipped: {output}",
        markup=False,
    )


@app.command("sft")
def sft(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder to start from.")],
    trajectories: Annotated[Path, typer.Argument(help="Curated trajectories (JSONL).")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    protocol: TrainedProtocol = "paper",
    lora: Annotated[int, typer.Option(min=0, help="LoRA rank; 0 trains every weight.")] = 8,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-4,
    epochs: Annotated[float, typer.Option(help="Passes over the data.")] = 2.0,
    steps: Annotated[int, typer.Option(help="Optimiser steps in place of epochs.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Trajectories per step and device.")] = 16,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches per optimiser step.")] = 1,
    tool_weight: Annotated[float, typer.Option(help="w_t: weight of the call's tokens.")] = 5.0,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    smoke: SmokeOption = False,
) -> None:
    """Supervised fine-tuning; several GPUs through `accelerate launch`."""
    _require()
    from awares_edge.training.sft import SftConfig, run_sft

    if smoke:
        steps, batch, lora, lr = 40, 8, 0, 1e-3
    config = SftConfig(
        checkpoint, trajectories, output, protocol=protocol, lora_rank=lora, lr=lr, epochs=epochs,
        max_steps=steps, batch=batch, accumulate=accumulate, tool_weight=tool_weight, dtype=dtype,
        seed=seed,
    )  # fmt: skip
    final = run_sft(config, lambda line: err.print(line, style="yellow", markup=False))
    out.print(f"written to {final}; curve in {output / 'curve.png'}", markup=False)


@app.command("grpo")
def grpo(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder, after SFT.")],
    trajectories: Annotated[Path, typer.Argument(help="Curated trajectories (JSONL).")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    protocol: TrainedProtocol = "paper",
    lora: Annotated[int, typer.Option(min=0, help="LoRA rank; 0 trains every weight.")] = 8,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-5,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 500,
    prompts: Annotated[int, typer.Option(min=1, help="Questions a step.")] = 8,
    group: Annotated[int, typer.Option(min=2, help="Conversations a question (G).")] = 8,
    beta: Annotated[float, typer.Option(help="Weight of the KL to the start.")] = 0.05,
    miss: Annotated[float, typer.Option(help="Cost of not looking where needed.")] = 2.0,
    use: Annotated[float, typer.Option(help="Cost of looking where not needed.")] = 0.25,
    area: Annotated[float, typer.Option(help="Cost per percent of the picture looked at.")] = 0.01,
    judge: JudgeOption = JudgeName.exact,
    judge_model: JudgeModelOption = "",
    endpoint: EndpointOption = "",
    key: KeyOption = "",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    smoke: SmokeOption = False,
) -> None:
    """GRPO with two-turn rollouts and an asymmetric cost of looking."""
    _require()
    from awares_edge.training.grpo import GrpoConfig, run_grpo
    from awares_edge.training.reward import ToolCost
    from awares_edge.training.rollout import Sampling

    if smoke:
        steps, prompts, group, lora, lr = 10, 4, 4, 0, 1e-4
    config = GrpoConfig(
        checkpoint, trajectories, output, protocol=protocol, lora_rank=lora, lr=lr, steps=steps,
        prompts=prompts, group=group, beta=beta, dtype=dtype, seed=seed,
        cost=ToolCost(miss=miss, use=use, area=area), sampling=Sampling(),
    )  # fmt: skip
    scorer = _judge(judge, judge_model, endpoint, key)
    final = run_grpo(config, scorer, lambda line: err.print(line, style="yellow", markup=False))
    out.print(f"written to {final}; curve in {output / 'curve.png'}", markup=False)


def _require() -> None:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise RuntimeUnavailable(
            "training needs torch and transformers: pip install 'awares-edge[train]'"
        ) from error
    del torch, transformers


def _judge(name: JudgeName, model: str, endpoint: str, key: str) -> Judge:
    from awares_edge.training import judges
    from awares_edge.training.endpoint import Endpoint

    if name is JudgeName.exact:
        return judges.ExactJudge()
    if name is JudgeName.anls:
        return judges.AnlsJudge()
    if not model:
        raise InputError(f"--judge {name.value} needs --judge-model")
    if name is JudgeName.semantic:
        return judges.SemanticJudge(model)
    if not endpoint:
        raise InputError("--judge endpoint needs --endpoint")
    return judges.EndpointJudge(Endpoint(endpoint, model, key))


def _oracle(name: OracleName, model: str, endpoint: str, key: str) -> Oracle:
    from awares_edge.training import oracles
    from awares_edge.training.endpoint import Endpoint

    if name is OracleName.known:
        return oracles.KnownBoxes()
    if not model or not endpoint:
        raise InputError("--oracle endpoint needs --endpoint and --oracle-model")
    return oracles.EndpointOracle(Endpoint(endpoint, model, key))
