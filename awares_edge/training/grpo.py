"""GRPO on the two-turn protocol: group advantages, clipped ratio, KL to the reference.

Our own loop, not trl's (see docs/training.md). Only sampled tokens carry gradient. One step
samples ``group`` conversations for each of ``prompts`` rows; ``inner`` passes over them share
the sampling policy's likelihoods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from awares_edge.files import whole_file
from awares_edge.training.encoding import Conversation
from awares_edge.training.endpoint import Patience
from awares_edge.training.errors import ReplyError, TrainingError
from awares_edge.training.judges import ExactJudge, Judge
from awares_edge.training.likelihood import all_finite, log_likelihoods
from awares_edge.training.loading import load_for_training
from awares_edge.training.metrics import MetricsLog
from awares_edge.training.reward import ToolCost
from awares_edge.training.rollout import Rollout, roll_out
from awares_edge.training.run import (
    Progress,
    fingerprint,
    pin_settings,
    save_final,
    usable_rows,
)
from awares_edge.training.skipped import SKIPPED, Skipped, readable
from awares_edge.training.trajectories import Trajectory, open_image

_STATE = "state.pt"


@dataclass(frozen=True)
class GrpoConfig:
    """Settings; defaults as published where they are (G, beta, costs, lr); clip is PPO's 0.2.

    The learning rate falls linearly to 0 over ``steps``: groups are small, and the noise of the
    last steps would otherwise stay in the weights.

    Attributes:
        prompts, group: questions a step, and conversations for each.
        batch: conversations on the device at a time; changes only memory and speed.
        checkpointing: recompute activations in the backward pass: a fraction of the memory.
    """

    checkpoint: Path
    trajectories: Path
    out: Path
    protocol: str = "paper"
    lora_rank: int = 8
    lr: float = 1e-5
    steps: int = 500
    prompts: int = 8
    group: int = 8
    batch: int = 8
    inner: int = 1
    beta: float = 0.05
    clip: float = 0.2
    max_grad_norm: float = 1.0
    cost: ToolCost = field(default_factory=ToolCost)
    max_new_tokens: int = 32
    seed: int = 0
    save_steps: int = 25
    dtype: str = "float32"
    checkpointing: bool = False


def advantages(rewards: Tensor, known: Tensor | None = None) -> Tensor:
    """Rewards [prompts, group], centred and scaled within each group.

    Where ``known`` is 0 there is no reward, and the advantage is 0.
    """
    known = torch.ones_like(rewards) if known is None else known
    count = known.sum(1, keepdim=True).clamp(min=1)
    centred = (rewards - (rewards * known).sum(1, keepdim=True) / count) * known
    spread = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return centred / (spread + 1e-4)


def grpo_loss(
    logp: Tensor, old: Tensor, reference: Tensor, advantage: Tensor, mask: Tensor, *,
    clip: float, beta: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Clipped objective plus beta KL, and the KL, of each row: means over its tokens, [rows].

    logp, old, reference, mask are [rows, length]; advantage is [rows].
    """
    ratio = (logp - old).exp()
    gain = advantage[:, None]
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    gap = reference - logp
    kl = gap.exp() - gap - 1  # k3: unbiased and never negative
    tokens = mask.sum(1).clamp(min=1)
    loss = -((surrogate - beta * kl) * mask).sum(1) / tokens
    return loss, ((kl * mask).sum(1) / tokens).detach()


class GrpoRun:
    """A run that can be stopped and resumed exactly (weights, optimiser, random state)."""

    def __init__(
        self, config: GrpoConfig, judge: Judge | None = None, skipped: Skipped | None = None
    ) -> None:
        self.config = config
        self.judge = judge or ExactJudge()
        self.skipped = skipped or Skipped()
        torch.manual_seed(config.seed)
        self.loaded = load_for_training(
            config.checkpoint, config.protocol, lora_rank=config.lora_rank, dtype=config.dtype
        )
        self.log = MetricsLog(config.out)
        self.model = self.loaded.model
        if torch.cuda.is_available():
            self.model.cuda()
        self.reference = self.loaded.reference()
        if config.checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.model.train()
        self.trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trainable, lr=config.lr, weight_decay=0.0)
        self.step = 0
        self.patience = Patience()
        self.state_path = config.out / _STATE
        if self.state_path.exists():
            self._resume()
        self.log.truncate(self.step)

    def train(
        self,
        rows: Sequence[Trajectory],
        folder: Path,
        progress: Progress = lambda _done, _steps: None,
    ) -> None:
        """Run to ``config.steps``."""
        while self.step < self.config.steps:
            self.train_step(rows, folder)
            progress(self.step, self.config.steps)
            if self.step % self.config.save_steps == 0 or self.step == self.config.steps:
                self.save()

    def train_step(self, rows: Sequence[Trajectory], folder: Path) -> dict[str, float]:
        """Sample, score and update once; returns what was logged."""
        c = self.config
        picked = torch.randint(len(rows), (c.prompts,)).tolist()
        read = [readable(rows, i, lambda r: self._image(r, folder), self.skipped) for i in picked]
        chosen = [row for row, _ in read]
        prompts = [(image, row.question) for row, image in read]
        groups = roll_out(
            self.loaded, prompts, c.group, max_new_tokens=c.max_new_tokens, batch=c.batch
        )
        flat = [(r, x) for r, g in zip(chosen, groups, strict=True) for x in g]
        scores = [self._score(row, rollout) for row, rollout in flat]
        rewards = torch.tensor(
            [
                c.cost.reward(
                    score or 0.0,
                    needed=row.label == "HR",
                    crops=rollout.crops,
                    called=rollout.call.status != "none",
                )
                for (row, rollout), score in zip(flat, scores, strict=True)
            ]
        )
        known = torch.tensor([s is not None for s in scores]).float()
        gains = advantages(rewards.view(c.prompts, -1), known.view(c.prompts, -1)).flatten()
        stats = self._update([x.conversation for _, x in flat], gains)
        self.step += 1
        line = {
            "reward": float(rewards.mean()),
            "accuracy": sum(s or 0.0 for s in scores) / len(scores),
            "called": sum(bool(x.crops) for _, x in flat) / len(flat),
            "invalid": sum(x.call.status == "invalid" for _, x in flat) / len(flat),
            "unjudged": sum(s is None for s in scores) / len(scores),
            **stats,
        }
        self.log.write(step=self.step, **line)
        return line

    def _image(self, row: Trajectory, folder: Path) -> Image.Image:
        """The row's picture; raises `ImageError` if it cannot be read or shown."""
        image = open_image(row.image, folder)
        self.loaded.encoder.check(image)
        return image

    def _score(self, row: Trajectory, rollout: Rollout) -> float | None:
        try:
            score = self.judge.score(row.question, row.answer, rollout.answer)
        except ReplyError as error:  # one unusable reply must not end a run of days
            self.patience.lost(error)
            return None
        self.patience.used()
        return score

    def _update(self, rows: list[Conversation], advantage: Tensor) -> dict[str, float]:
        c = self.config
        parts = [slice(i, i + c.batch) for i in range(0, len(rows), c.batch)]
        with torch.no_grad(), self.reference() as start:
            reference = [log_likelihoods(self.loaded, start, rows[p])[0] for p in parts]
        for group in self.optimizer.param_groups:
            group["lr"] = c.lr * max(0.0, 1 - self.step / c.steps)
        old: list[Tensor] = []
        for _ in range(c.inner):
            self.optimizer.zero_grad(set_to_none=True)
            total = kl = 0.0
            for n, part in enumerate(parts):
                logp, mask = log_likelihoods(self.loaded, self.model, rows[part])
                if len(old) == n:
                    old.append(logp.detach())  # the policy that sampled
                gain = advantage[part].to(logp.device)
                losses, kls = grpo_loss(
                    logp, old[n], reference[n], gain, mask, clip=c.clip, beta=c.beta
                )
                loss = losses.sum() / len(rows)
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
                kl += float(kls.sum()) / len(rows)
            norm = torch.nn.utils.clip_grad_norm_(self.trainable, c.max_grad_norm)
            if not all_finite([torch.tensor(total), norm]):
                raise self._diverged("loss or its gradient is")
            self.optimizer.step()
            if not all_finite(self.trainable):
                raise self._diverged("weights are")
        return {"loss": total, "kl": kl, "grad_norm": float(norm)}

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"the {what} NaN or infinite at step {self.step}: the last saved state is in "
            f"{self.config.out}; start again with a lower learning rate and another output"
        )

    def save(self) -> None:
        """Write the resumable state; the old one is kept until the new one is complete."""
        state: dict[str, Any] = {
            "step": self.step,
            "weights": [p.detach().cpu() for p in self.trainable],
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "cuda random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        with whole_file(self.state_path) as file:
            torch.save(state, file)

    def _resume(self) -> None:
        try:
            state = torch.load(self.state_path, map_location="cpu", weights_only=True)
            with torch.no_grad():
                for mine, theirs in zip(self.trainable, state["weights"], strict=True):
                    mine.copy_(theirs)
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            if torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["cuda random"])
            self.step = int(state["step"])
        # A damaged file can raise anything; `weights_only` runs no code of a pickle.
        except Exception as error:
            raise TrainingError(
                f"{self.state_path} is damaged, or of another run: remove it to begin again"
            ) from error


def run_grpo(
    config: GrpoConfig,
    judge: Judge | None = None,
    report: Callable[[str], None] = print,
    progress: Progress = lambda _done, _steps: None,
) -> Path:
    """Train and write the result to ``out/final``; returns that folder.

    Rows that cannot be used are reported, and listed in ``out/skipped.json``.

    Raises:
        TrainingError: no usable rows, other settings than the run began with, or a loss or a
            gradient that is NaN or infinite.
        EndpointError: the judge's server cannot be reached; the last saved state is kept.
    """
    skipped = Skipped(report)
    rows = usable_rows(config.trajectories, skipped.add)
    judge = judge or ExactJudge()
    pinned = {**asdict(config), "out": "", "judge": judge.name, "rows": fingerprint(rows)}
    config.out.mkdir(parents=True, exist_ok=True)
    pin_settings(config.out / "run.json", pinned, begun=(config.out / _STATE).exists())
    run = GrpoRun(config, judge, skipped)
    run.train(rows, config.trajectories.parent, progress)
    final = save_final(run.loaded, config.out / "final")
    run.log.plot("reward", "accuracy", "called", "kl")
    skipped.save(config.out / SKIPPED)
    return final
