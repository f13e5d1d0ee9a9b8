"""The stages, in their order: what comes first is measured even if the time runs out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NANO = str(ROOT / "checkpoints" / "nano")
EMBEDDED = str(ROOT / "awares_edge" / "assets" / "nano")

_TORCH = ("torch", "transformers", "safetensors")
_ONNX = ("onnx", "ml_dtypes")


@dataclass(frozen=True)
class Size:
    """How much each stage does.

    Attributes:
        device: where to compute.
        tests: pytest's -k expression for the conformance suite; empty for all of it.
        questions: of the parity run.
        iterations, warmup, side, answer_tokens: of a profile, as `awares-edge profile` has them.
        shape: "3b", or "tiny": of the large checkpoint.
        patience: factor of all time limits.
    """

    device: str
    tests: str
    questions: int
    iterations: int
    warmup: int
    side: int
    answer_tokens: int
    shape: str
    patience: float = 1.0


FULL = Size("cuda", "", 100, 10, 2, 896, 16, "3b")
REHEARSAL = Size("cpu", "matter or rewinding or baselines", 4, 2, 1, 336, 4, "tiny", 8)


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: its key in the results.
        group: the table that it belongs to.
        task: name of the function in `work`.
        arguments: of that function. "WORK/..." is a path in the work folder.
        limit_s: most seconds; less where less of the budget is left.
        runtime: it runs where this runtime can use the device.
        packages: it needs these to be importable.
        after: stages that it needs the files of.
        makes: the file or folder that it leaves in the work folder.
        beside: it uses only the CPU, and runs beside stages that are not timed.
    """

    name: str
    group: str
    task: str
    arguments: dict[str, Any]
    limit_s: float
    runtime: str = ""
    packages: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    makes: str = ""
    beside: bool = False

    @property
    def timed(self) -> bool:
        """Whether it measures times: nothing may run beside it."""
        return self.task == "profile"


RUNTIMES_STAGE = "runtimes"


def all_stages(size: Size) -> list[Stage]:
    """Every stage of a run."""
    return [
        Stage(RUNTIMES_STAGE, "runtimes", "check_runtimes", {}, 120),
        *_conformance(size),
        *_parity(size),
        *_nano(size),
        *_large(size),
    ]


def _conformance(size: Size) -> list[Stage]:
    needs = {"onnx": ("onnx",), "torch": (), "llamacpp": ("gguf",)}
    return [
        Stage(
            f"conformance-{runtime}",
            "conformance",
            "conformance",
            {"runtime": runtime, "device": size.device, "tests": size.tests},
            120,
            runtime=runtime,
            packages=("pytest", "hypothesis", *_TORCH, *packages),
        )
        for runtime, packages in needs.items()
    ]


def _parity(size: Size) -> list[Stage]:
    reference = "WORK/nano-cpu.parity"
    candidates = [
        ("torch", "torch", NANO, ""),
        ("onnx", "onnx", EMBEDDED, ""),
        ("onnx-int4-fp16", "onnx", "WORK/nano-int4-fp16", "export-nano-int4-fp16"),
        ("llamacpp", "llamacpp", "WORK/nano-gguf", "export-nano-gguf"),
    ]
    return [
        Stage(
            "cpu-reference",
            "preparation",
            "save_reference",
            {"checkpoint": NANO, "output": reference, "questions": size.questions},
            150,
            packages=_TORCH,
            makes="nano-cpu.parity",
            beside=True,
        ),
        _export("nano-gguf", NANO, "gguf", "f16", "nano", "llamacpp", ("gguf",)),
        _export("nano-int4-fp16", NANO, "onnx", "int4-fp16", "nano", "onnx", _ONNX),
        *(
            Stage(
                f"parity-{name}",
                "parity",
                "parity",
                {"reference": reference, "candidate": candidate, "device": size.device},
                120,
                runtime=runtime,
                after=("cpu-reference", *([made] if made else [])),
            )
            for name, runtime, candidate, made in candidates
        ),
    ]


def _export(
    name: str,
    checkpoint: str,
    format: str,
    precision: str,
    protocol: str,
    runtime: str,
    packages: tuple[str, ...],
    after: tuple[str, ...] = (),
    beside: bool = True,
) -> Stage:
    """The export of a checkpoint to the bundle WORK/{name}."""
    arguments = {
        "checkpoint": checkpoint, "bundle": f"WORK/{name}", "format": format,
        "precision": precision, "protocol": protocol,
    }  # fmt: skip
    return Stage(
        f"export-{name}", "preparation", "export", arguments, 150,
        runtime=runtime, packages=packages, after=after, makes=name,
        beside=beside,
    )  # fmt: skip


def _nano(size: Size) -> list[Stage]:
    profile = _Profile("nano", "nano", size, 60)
    return [
        profile.stage("transformers-fp32", NANO, "torch", mode="reference"),
        profile.stage("torch-fp32", NANO, "torch"),
        profile.stage("onnx-fp16", EMBEDDED, "onnx"),
        profile.stage("llamacpp-f16", "WORK/nano-gguf", "llamacpp", after=("export-nano-gguf",)),
    ]


def _large(size: Size) -> list[Stage]:
    made, checkpoint = ("large-checkpoint",), "WORK/large-checkpoint"
    profile = _Profile("large", "paper", size, 90)
    stages = [
        Stage(
            "large-checkpoint",
            "preparation",
            "random_checkpoint",
            {"path": checkpoint, "shape": size.shape},
            120,
            runtime="torch",
            packages=_TORCH,
            makes="large-checkpoint",
            beside=True,
        ),
        profile.stage(
            "transformers-bf16", checkpoint, "torch", made, mode="reference", dtype="bfloat16"
        ),
        profile.stage("torch-bf16", checkpoint, "torch", made, dtype="bfloat16"),
    ]
    # The 4-bit export takes longest: profiles that do not need it do not wait for it.
    for precision, beside in (("fp16", True), ("int4-fp16", False)):
        bundle = f"large-onnx-{precision}"
        stages += [
            _export(bundle, checkpoint, "onnx", precision, "paper", "onnx", _ONNX, made, beside),
            profile.stage(
                f"onnx-{precision}", f"WORK/{bundle}", "onnx", (f"export-{bundle}",)
            ),
        ]  # fmt: skip
    # Last: the least missed where the time runs out.
    stages.append(profile.stage("torch-fp16", checkpoint, "torch", made, dtype="float16"))
    return stages


@dataclass(frozen=True)
class _Profile:
    """What the profiles of one model have in common."""

    model: str
    protocol: str
    size: Size
    limit_s: float

    def stage(
        self,
        variant: str,
        path: str,
        runtime: str,
        after: tuple[str, ...] = (),
        *,
        mode: str = "awares",
        dtype: str | None = None,
    ) -> Stage:
        size = self.size
        arguments = {
            "path": path, "runtime": runtime, "mode": mode, "dtype": dtype,
            "protocol": self.protocol, "device": size.device, "side": size.side,
            "iterations": size.iterations, "warmup": size.warmup,
            "answer_tokens": size.answer_tokens,
        }  # fmt: skip
        return Stage(
            f"{self.model}-{variant}",
            f"profile of {self.model}",
            "profile",
            arguments,
            self.limit_s,
            runtime=runtime,
            after=after,
        )
