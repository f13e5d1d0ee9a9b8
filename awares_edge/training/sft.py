"""Supervised fine-tuning on curated trajectories, on transformers' Trainer.

Loss: weighted negative log-likelihood of the assistant's tokens, sum(w nll) / sum(w)
over the batch, with w = ``tool_weight`` on the call (paper: w_t = 5). Optimiser, schedule,
mixed precision, several GPUs (``accelerate launch``) and bit-for-bit resuming are the
Trainer's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from awares_edge.errors import ImageError, QuestionError
from awares_edge.training.encoding import IGNORE, Conversation, collate
from awares_edge.training.errors import TrainingError
from awares_edge.training.loading import Loaded, load_for_training
from awares_edge.training.metrics import MetricsLog
from awares_edge.training.trajectories import Trajectory, open_image, read_trajectories

Progress = Callable[[int, int], None]
"""Told of steps done and their number."""


@dataclass(frozen=True)
class SftConfig:
    """Settings; defaults are the paper's (supplement), for LoRA on a 7B model.

    Attributes:
        lora_rank: 0 trains every weight (the nano model).
        batch: trajectories per optimiser step and device, in ``accumulate`` parts.
        tool_weight: w_t.
        max_steps: 0 for ``epochs`` over the data.
    """

    checkpoint: Path
    trajectories: Path
    out: Path
    protocol: str = "paper"
    lora_rank: int = 8
    lr: float = 1e-4
    epochs: float = 2.0
    max_steps: int = 0
    batch: int = 16
    accumulate: int = 1
    tool_weight: float = 5.0
    warmup: float = 0.05
    weight_decay: float = 0.001
    seed: int = 0
    save_steps: int = 200
    log_steps: int = 10
    dtype: str = "float32"
    resume: bool = True


class TrajectoryDataset(Dataset[Conversation]):
    """Encodes trajectories when they are asked for; pictures are not kept in memory."""

    def __init__(self, loaded: Loaded, rows: Sequence[Trajectory], folder: Path, weight: float):
        self.loaded, self.rows, self.folder, self.weight = loaded, rows, folder, weight

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Conversation:
        row = self.rows[index]
        image: Image.Image = open_image(row.image, self.folder)
        return self.loaded.encoder.trajectory(
            image, row.question, row.answer, row.crops, self.weight
        )


def weighted_nll(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """sum(w nll) / sum(w) over supervised tokens; logits [B, L, V], labels and weights [B, L]."""
    targets = labels[:, 1:].reshape(-1)
    losses = F.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), targets, ignore_index=IGNORE, reduction="none"
    )
    share = weights[:, 1:].reshape(-1) * (targets != IGNORE)
    return (losses * share).sum() / share.sum().clamp(min=1e-6)


class WeightedTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose loss is ``weighted_nll``; stops on a loss that is no number."""

    loaded: Loaded

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        outputs = model(**self.loaded.inputs(inputs))
        loss = weighted_nll(outputs.logits, inputs["labels"], inputs["loss_weights"])
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {float(loss.detach())} at step {self.state.global_step}: the last "
                f"good checkpoint is in {self.args.output_dir}; lower the learning rate"
            )
        return (loss, outputs) if return_outputs else loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # transformers 5 saves vision-language weights under their published names, which its
        # Trainer then reads back by internal ones: every weight would keep its start value.
        if (Path(resume_from_checkpoint) / "adapter_config.json").is_file():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
        self.model.load_state_dict(saved.state_dict())


class _Log(TrainerCallback):  # type: ignore[misc]
    def __init__(self, log: MetricsLog, progress: Progress) -> None:
        self.log, self.progress = log, progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, control
        self.progress(state.global_step, state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        del args, control
        if logs and "loss" in logs:
            keep = {k: logs[k] for k in ("loss", "grad_norm", "learning_rate") if k in logs}
            self.log.write(step=state.global_step, **keep)


def readable(
    rows: Sequence[Trajectory], folder: Path, report: Callable[[str], None]
) -> list[Trajectory]:
    """The rows whose pictures open; the others are reported."""
    good = []
    for row in rows:
        try:
            open_image(row.image, folder)
        except (ImageError, QuestionError) as error:
            report(f"{row.id}: {error}")
            continue
        good.append(row)
    return good


def run_sft(
    config: SftConfig,
    report: Callable[[str], None] = print,
    progress: Progress = lambda _done, _steps: None,
) -> Path:
    """Train and write the result to ``out/final``; returns that folder.

    A run that was interrupted goes on from its last checkpoint in ``out``.
    """
    loaded = load_for_training(
        config.checkpoint, config.protocol, lora_rank=config.lora_rank, dtype=config.dtype
    )
    folder = config.trajectories.parent
    rows = readable(list(read_trajectories(config.trajectories, report)), folder, report)
    if not rows:
        raise TrainingError(f"{config.trajectories} holds no usable trajectory")
    special = loaded.encoder.special

    def together(batch: list[Conversation]) -> dict[str, Tensor]:
        return collate(batch, special.image_pad, loaded.pad)

    arguments = TrainingArguments(
        output_dir=str(config.out),
        per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.lr,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=config.log_steps,
        save_steps=config.save_steps,
        save_total_limit=2,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    log = MetricsLog(config.out)
    trainer = WeightedTrainer(
        model=loaded.model,
        args=arguments,
        data_collator=together,
        train_dataset=TrajectoryDataset(loaded, rows, folder, config.tool_weight),
        callbacks=[_Log(log, progress)],
    )
    trainer.loaded = loaded
    last = latest_checkpoint(config.out) if config.resume else None
    log.truncate(int(last.name.split("-")[1]) if last else 0)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    log.plot("loss", "grad_norm")
    return save_final(loaded, config.out / "final")


def latest_checkpoint(out: Path) -> Path | None:
    """The newest complete Trainer checkpoint in ``out``."""
    found = [p for p in out.glob("checkpoint-*") if (p / "trainer_state.json").is_file()]
    return max(found, key=lambda p: int(p.name.split("-")[1]), default=None)


def save_final(loaded: Loaded, folder: Path) -> Path:
    """Weights (or the adapter) with the tokenizer and configurations of the start."""
    loaded.model.save_pretrained(folder, safe_serialization=True)
    for name in (
        "tokenizer.json",
        "tokenizer_config.json",
        "preprocessor_config.json",
        "chat_template.jinja",
        "generation_config.json",
    ):
        if (loaded.folder / name).is_file():
            shutil.copy(loaded.folder / name, folder / name)
    return folder
