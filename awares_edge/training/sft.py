"""Supervised fine-tuning on curated trajectories, on transformers' Trainer.

Loss: weighted negative log-likelihood of the assistant's tokens, sum(w nll) / sum(w)
over a batch, with w = ``tool_weight`` on the call (paper: w_t = 5). Optimiser, schedule,
several GPUs (``accelerate launch``) and exact (bit-for-bit) resuming come from the Trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerState

from awares_edge.training.encoding import Conversation, collate
from awares_edge.training.errors import TrainingError
from awares_edge.training.likelihood import all_finite, label_logits, weighted_nll
from awares_edge.training.loading import Loaded, load_for_training
from awares_edge.training.metrics import MetricsLog
from awares_edge.training.run import (
    Progress,
    fingerprint,
    pin_settings,
    save_final,
    usable_rows,
)
from awares_edge.training.skipped import SKIPPED, Skipped, readable
from awares_edge.training.trajectories import Trajectory, open_image


@dataclass(frozen=True)
class SftConfig:
    """Settings; defaults are the paper's (supplement), for LoRA on a 7B model.

    Attributes:
        lora_rank: 0 trains every weight (the nano model).
        batch: trajectories on a device at a time.
        accumulate: batches per optimiser step; their losses are averaged.
        tool_weight: w_t.
        max_steps: 0 for ``epochs`` over the data.
        checkpointing: recompute activations in the backward pass: a fraction of the memory.
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
    checkpointing: bool = False


class TrajectoryDataset(Dataset[Conversation]):
    """Encodes each trajectory on access; pictures are not kept in memory.

    A row whose picture cannot be used counts as ``skipped``; the next one takes its place.
    """

    def __init__(
        self,
        loaded: Loaded,
        rows: Sequence[Trajectory],
        folder: Path,
        weight: float,
        skipped: Skipped | None = None,
    ) -> None:
        self.loaded, self.rows, self.folder, self.weight = loaded, rows, folder, weight
        self.skipped = skipped or Skipped()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Conversation:
        return readable(self.rows, index, self._encoded, self.skipped)[1]

    def _encoded(self, row: Trajectory) -> Conversation:
        image = open_image(row.image, self.folder)
        return self.loaded.encoder.trajectory(
            image, row.question, row.answer, row.crops, self.weight
        )


class WeightedTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose loss is ``weighted_nll``; stops on a NaN or infinite loss."""

    loaded: Loaded

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # Otherwise the Trainer takes our means for sums over all accumulated batches.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        loss = weighted_nll(*label_logits(self.loaded, model, inputs))
        if not torch.isfinite(loss):
            raise self.bad_number("loss")
        return (loss, None) if return_outputs else loss

    def bad_number(self, what: str) -> TrainingError:
        """The error for a loss or gradient that is NaN or infinite."""
        last = latest_checkpoint(Path(self.args.output_dir))
        return TrainingError(
            f"the {what} is NaN or infinite at step {self.state.global_step}: the last good "
            f"checkpoint is {last or 'the one you started from'}; start again with a lower "
            "learning rate and another output"
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # transformers 5 saves vision-language weights under their published names, which its
        # Trainer then reads back by internal ones: every weight would keep its start value.
        if (Path(resume_from_checkpoint) / "adapter_config.json").is_file():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
        self.model.load_state_dict(saved.state_dict())


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Logs and reports; stops before a step whose gradient is NaN or infinite."""

    def __init__(self, log: MetricsLog, progress: Progress) -> None:
        self.log, self.progress = log, progress
        self.trainer: WeightedTrainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, state, control
        if not all_finite([p.grad for p in self.trainer.model.parameters()]):
            raise self.trainer.bad_number("gradient")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, control
        self.progress(state.global_step, state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        del args, control
        if logs and "loss" in logs and state.is_world_process_zero:
            keep = {k: logs[k] for k in ("loss", "grad_norm", "learning_rate") if k in logs}
            self.log.write(step=state.global_step, **keep)


def run_sft(
    config: SftConfig,
    report: Callable[[str], None] = print,
    progress: Progress = lambda _done, _steps: None,
) -> Path:
    """Train and write the result to ``out/final``; returns that folder.

    A run that was interrupted resumes from its last checkpoint in ``out``. Rows that cannot be
    used are reported, and listed in ``out/skipped.json``.

    Raises:
        TrainingError: no usable rows, other settings than the run began with, or a loss or a
            gradient that is NaN or infinite.
    """
    skipped = Skipped(report)
    rows = usable_rows(config.trajectories, skipped.add)
    loaded = load_for_training(
        config.checkpoint, config.protocol, lora_rank=config.lora_rank, dtype=config.dtype
    )
    if config.checkpointing:
        loaded.model.gradient_checkpointing_enable({"use_reentrant": False})
    log = MetricsLog(config.out)
    last = latest_checkpoint(config.out)
    pin_settings(
        config.out / "run.json",
        {**asdict(config), "out": "", "rows": fingerprint(rows)},
        begun=last is not None,
    )
    data = TrajectoryDataset(loaded, rows, config.trajectories.parent, config.tool_weight, skipped)
    trainer = _trainer(config, loaded, data, log, progress)
    if trainer.is_world_process_zero():
        log.truncate(_step(last) if last else 0)
    if last and _finished(last):  # the Trainer would take one step more
        trainer._load_from_checkpoint(str(last))
    else:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    final = config.out / "final"
    if trainer.is_world_process_zero():
        save_final(loaded, final)
        log.plot("loss", "grad_norm")
        skipped.save(config.out / SKIPPED)
    return final


def _trainer(
    config: SftConfig,
    loaded: Loaded,
    data: TrajectoryDataset,
    log: MetricsLog,
    progress: Progress,
) -> WeightedTrainer:
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
        logging_first_step=True,
        save_steps=config.save_steps,
        save_total_limit=2,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    watch = _Watch(log, progress)
    trainer = WeightedTrainer(
        model=loaded.model,
        args=arguments,
        data_collator=together,
        train_dataset=data,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)  # stdout is for results
    watch.trainer, trainer.loaded = trainer, loaded
    return trainer


def latest_checkpoint(out: Path) -> Path | None:
    """The newest complete Trainer checkpoint in ``out``."""
    found = [p for p in out.glob("checkpoint-*") if p.name.split("-", 1)[1].isdecimal()]
    return next((p for p in sorted(found, key=_step, reverse=True) if _whole(p)), None)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def _finished(checkpoint: Path) -> bool:
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    return bool(state.global_step >= state.max_steps)


def _whole(checkpoint: Path) -> bool:
    """Whether all files that a resumed run reads exist and are complete."""
    try:
        TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        weights = list(checkpoint.glob("*.safetensors"))
        for file in weights:
            safe_open(file, framework="pt")  # fails if the file is shorter than its header says
    except (OSError, ValueError, TypeError, SafetensorError):
        return False
    states = [*checkpoint.glob("rng_state*.pth"), checkpoint / "optimizer.pt"]
    states.append(checkpoint / "scheduler.pt")
    return bool(weights) and len(states) > 2 and all(map(is_zipfile, states))
