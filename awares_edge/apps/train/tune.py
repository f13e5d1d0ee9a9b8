"""`awares-edge train sft`, `train grpo`, `train average`: from one checkpoint to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from awares_edge.apps.console import progress_bar, say, warn
from awares_edge.apps.train.options import (
    CheckpointingOption,
    DtypeOption,
    EndpointOption,
    JudgeModelOption,
    JudgeOption,
    KeyOption,
    LoraOption,
    RunOption,
    SaveStepsOption,
    SeedOption,
    SmokeOption,
    ToolWeightOption,
    TrainedProtocol,
    TrajectoriesArgument,
    amount,
    make_judge,
    require_training,
)
from awares_edge.files import check_output_folder


def sft(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint or adapter to start from.")],
    trajectories: TrajectoriesArgument,
    output: RunOption,
    protocol: TrainedProtocol = "paper",
    lora: LoraOption = 8,
    lr: Annotated[float, amount("Peak learning rate.")] = 1e-4,
    epochs: Annotated[float, amount("Passes over the data.", low=0.001)] = 2.0,
    steps: Annotated[int, typer.Option(min=0, help="Optimiser steps instead of epochs.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Trajectories per step and device.")] = 16,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches per optimiser step.")] = 1,
    tool_weight: ToolWeightOption = 5.0,
    dtype: DtypeOption = "float32",
    checkpointing: CheckpointingOption = False,
    save_steps: SaveStepsOption = 100,
    seed: SeedOption = 0,
    smoke: SmokeOption = False,
) -> None:
    """Supervised fine-tuning; several GPUs through `accelerate launch`."""
    require_training()
    check_output_folder(output)
    from awares_edge.training.sft import SftConfig, run_sft

    if smoke:
        steps, batch, lora, lr = 40, 8, 0, 1e-3
    config = SftConfig(
        checkpoint, trajectories, output, protocol=protocol, lora_rank=lora, lr=lr, epochs=epochs,
        max_steps=steps, batch=batch, accumulate=accumulate, tool_weight=tool_weight,
        dtype=dtype, checkpointing=checkpointing, save_steps=save_steps,
        seed=seed,
    )  # fmt: skip
    with progress_bar() as update:
        final = run_sft(config, warn, lambda done, steps: update("sft", done, steps))
    say(f"written to {final}; curve in {output / 'curve.png'}")


def grpo(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint or adapter, after SFT.")],
    trajectories: TrajectoriesArgument,
    output: RunOption,
    protocol: TrainedProtocol = "paper",
    lora: LoraOption = 8,
    lr: Annotated[float, amount("Learning rate at the start; falls to 0.")] = 1e-5,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 500,
    prompts: Annotated[int, typer.Option(min=1, help="Questions per step.")] = 8,
    group: Annotated[int, typer.Option(min=2, help="Conversations per question (G).")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Conversations on the device at a time.")] = 8,
    inner: Annotated[int, typer.Option(min=1, help="Passes over a step's conversations.")] = 1,
    beta: Annotated[float, amount("Weight of the KL divergence from the start.")] = 0.05,
    miss: Annotated[float, amount("Cost of not looking closer when needed.")] = 2.0,
    use: Annotated[float, amount("Cost of looking closer when not needed.")] = 0.25,
    area: Annotated[
        float,
        amount("Cost per percent of the picture looked at."),
    ] = 0.01,
    judge: JudgeOption = "exact",
    judge_model: JudgeModelOption = "",
    endpoint: EndpointOption = "",
    key: KeyOption = "",
    dtype: DtypeOption = "float32",
    checkpointing: CheckpointingOption = False,
    save_steps: SaveStepsOption = 25,
    seed: SeedOption = 0,
    smoke: SmokeOption = False,
) -> None:
    """GRPO with two-turn rollouts and an asymmetric cost of looking."""
    require_training()
    check_output_folder(output)
    from awares_edge.training.grpo import GrpoConfig, run_grpo
    from awares_edge.training.reward import ToolCost

    if smoke:
        steps, prompts, group, lora, lr = 10, 4, 4, 0, 1e-4
    config = GrpoConfig(
        checkpoint, trajectories, output, protocol=protocol, lora_rank=lora, lr=lr, steps=steps,
        prompts=prompts, group=group, batch=batch, inner=inner, beta=beta, dtype=dtype,
        checkpointing=checkpointing, save_steps=save_steps, seed=seed,
        cost=ToolCost(miss=miss, use=use, area=area),
    )  # fmt: skip
    scorer = make_judge(judge, judge_model, endpoint, key)
    with progress_bar() as update:
        final = run_grpo(config, scorer, warn, lambda done, steps: update("grpo", done, steps))
    say(f"written to {final}; curve in {output / 'curve.png'}")


def average(
    start: Annotated[Path, typer.Argument(help="Checkpoint folder before fine-tuning.")],
    tuned: Annotated[Path, typer.Argument(help="Checkpoint folder after fine-tuning.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the fine-tuned weights.")
    ] = 0.5,
) -> None:
    """Average a checkpoint with its fine-tuned weights (WiSE-FT), which forgets less."""
    require_training()
    check_output_folder(output)
    from awares_edge.training.average import average as run

    say(f"written to {run(start, tuned, output, share)}")
