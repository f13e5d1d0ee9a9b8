"""Options that the training commands share, and the judges and oracles they name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from awares_edge.errors import InputError
from awares_edge.extras import require

if TYPE_CHECKING:
    from awares_edge.training.judges import Judge
    from awares_edge.training.oracles import Oracle


def amount(text: str, low: float = 0.0, high: float | None = None) -> Any:
    """An option that takes a finite number within bounds."""
    return typer.Option(min=low, max=high, callback=_finite, help=text)


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):  # `min` and `max` accept NaN and infinity
        raise typer.BadParameter(f"{value} must be finite")
    return value


_PACKAGES = ("torch", "transformers", "accelerate", "peft", "safetensors", "matplotlib")


JudgeName = Literal["exact", "anls", "semantic", "endpoint"]
OracleName = Literal["known", "endpoint", "ocr"]
OutputFormat = Literal["trajectories", "swift", "sharegpt", "trl"]
Dtype = Literal["float32", "bfloat16"]

JudgeOption = Annotated[JudgeName, typer.Option(help="How answers are compared.")]
JudgeModelOption = Annotated[
    str,
    typer.Option(
        help="Judge: a sentence-embedding folder (default: the installed "
        "MiniLM), or the endpoint's model name."
    ),
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
TrajectoriesArgument = Annotated[Path, typer.Argument(help="Curated trajectories (JSONL).")]
RunOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")]
LoraOption = Annotated[int, typer.Option(min=0, max=1024, help="LoRA rank; 0 trains every weight.")]
DtypeOption = Annotated[Dtype, typer.Option(help="Of the weights; bfloat16 only with --lora.")]
CheckpointingOption = Annotated[
    bool,
    typer.Option("--checkpointing", help="Recompute activations: less memory, a third slower."),
]
ToolWeightOption = Annotated[float, amount("w_t: weight of the call's tokens.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed.")]
SaveStepsOption = Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")]
TrainedProtocol = Annotated[
    str,
    typer.Option(
        help="Protocol profile: paper, readme, evaluator, nano, or a .toml or .json file."
    ),
]


def require_training() -> None:
    """Name the install line where a package of the extra is missing: before the work, not after.

    Raises:
        RuntimeUnavailable: one is missing.
    """
    require("training", dict.fromkeys(_PACKAGES, "awares-edge[train]"))


def make_judge(name: JudgeName, model: str, endpoint: str, key: str) -> Judge:
    """The judge that the options describe."""
    from awares_edge.training import judges
    from awares_edge.training.endpoint import Endpoint

    if model and name in ("exact", "anls"):
        raise InputError(f"--judge {name} uses no model: leave --judge-model out")
    if name == "exact":
        return judges.ExactJudge()
    if name == "anls":
        return judges.AnlsJudge()
    if name == "semantic":
        return judges.SemanticJudge(model)
    if not model:
        raise InputError(f"--judge {name} needs --judge-model")
    if not endpoint:
        raise InputError("--judge endpoint needs --endpoint")
    return judges.EndpointJudge(Endpoint(endpoint, model, key))


def make_oracle(name: OracleName, model: str, endpoint: str, key: str) -> Oracle:
    """The oracle that the options describe."""
    from awares_edge.training import oracles
    from awares_edge.training.endpoint import Endpoint

    if model and name != "endpoint":
        raise InputError(f"--oracle {name} uses no model: leave --oracle-model out")
    if name == "known":
        return oracles.KnownBoxes()
    if name == "ocr":
        from awares_edge.training.ocr import OcrOracle

        return OcrOracle()
    if not model or not endpoint:
        raise InputError("--oracle endpoint needs --endpoint and --oracle-model")
    return oracles.EndpointOracle(Endpoint(endpoint, model, key))
