"""GRPO on the two-turn protocol: group advantages, clipped ratio, KL to the reference.

Our own loop, not trl's: docs/training.md says why. Only sampled tokens carry gradient. One step
samples ``group`` conversations for each of ``prompts`` rows; ``inner`` passes over them share
the sampling policy's likelihoods.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from awares_edge.files import whole_file
from awares_edge.training.encoding import IGNORE, Conversation, collate
from awares_edge.training.errors import TrainingError
from awares_edge.training.judges import ExactJudge, Judge
from awares_edge.training.loading import Loaded, load_for_training
from awares_edge.training.metrics import MetricsLog
from awares_edge.training.reward import ToolCost, reward
from awares_edge.training.rollout import Rollout, Sampling, roll_out
from awares_edge.training.sft import Progress, readable, save_final
from awares_edge.training.trajectories import Trajectory, open_image, read_trajectories


@dataclass(frozen=True)
class GrpoConfig:
    """Settings; defaults as published where they are (G, beta, costs, lr); clip is PPO's 0.2.

    The rate falls linearly to nothing over ``steps``: groups are small, and without that the
    last steps' noise is what is kept.
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
    inner: int = 1
    beta: float = 0.05
    clip: float = 0.2
    max_grad_norm: float = 1.0
    cost: ToolCost = field(default_factory=ToolCost)
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    save_steps: int = 25
    dtype: str = "float32"


def advantages(rewards: Tensor) -> Tensor:
    """Rewards [prompts, group], centred and scaled within each group."""
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True, unbiased=False) + 1e-4)


def grpo_loss(
    logp: Tensor, old: Tensor, reference: Tensor, advantage: Tensor, mask: Tensor, *,
    clip: float, beta: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Clipped objective plus beta KL, averaged over each row's tokens; and the mean KL.

    logp, old, reference, mask are [rows, length]; advantage is [rows].
    """
    ratio = (logp - old).exp()
    gain = advantage[:, None]
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    gap = reference - logp
    kl = gap.exp() - gap - 1  # k3: unbiased and never negative
    tokens = mask.sum(1).clamp(min=1)
    loss = -((surrogate - beta * kl) * mask).sum(1) / tokens
    return loss.mean(), ((kl * mask).sum() / mask.sum().clamp(min=1)).detach()


def log_likelihoods(
    loaded: Loaded, model: Any, rows: Sequence[Conversation]
) -> tuple[Tensor, Tensor]:
    """Log-likelihood of each generated token and the mask of those, [rows, length - 1]."""
    batch = collate(rows, loaded.encoder.special.image_pad, loaded.pad)
    device = next(model.parameters()).device
    batch = {k: v.to(device) for k, v in batch.items()}
    logits = model(**loaded.inputs(batch)).logits[:, :-1].float()
    targets = batch["labels"][:, 1:]
    mask = (targets != IGNORE).float()
    safe = targets.clamp(min=0)
    return F.log_softmax(logits, -1).gather(-1, safe[..., None])[..., 0] * mask, mask


class GrpoRun:
    """A run that can be stopped and resumed bit for bit (weights, optimiser, random state)."""

    def __init__(self, config: GrpoConfig, judge: Judge | None = None) -> None:
        self.config = config
        self.judge = judge or ExactJudge()
        torch.manual_seed(config.seed)
        self.loaded = load_for_training(
            config.checkpoint, config.protocol, lora_rank=config.lora_rank, dtype=config.dtype
        )
        self.model = self.loaded.model
        if torch.cuda.is_available():
            self.model.cuda()
        # With an adapter the reference is the model without it; else a frozen copy.
        self.reference = None if config.lora_rank else copy.deepcopy(self.model).eval()
        if self.reference is not None:
            self.reference.requires_grad_(False)
        self.trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trainable, lr=config.lr, weight_decay=0.0)
        self.step = 0
        self.log = MetricsLog(config.out)
        self.state_path = config.out / "state.pt"
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
        chosen = [rows[i] for i in picked]
        prompts = [(open_image(r.image, folder), r.question) for r in chosen]
        groups = roll_out(self.loaded, prompts, c.group, c.sampling)
        rewards = torch.tensor(
            [[self._reward(r, x) for x in g] for r, g in zip(chosen, groups, strict=True)]
        )
        flat = [x for g in groups for x in g]
        stats = self._update([x.conversation for x in flat], advantages(rewards).flatten())
        right = [
            self.judge.score(r.question, r.answer, x.answer)
            for r, g in zip(chosen, groups, strict=True)
            for x in g
        ]
        self.step += 1
        line = {
            "reward": float(rewards.mean()),
            "accuracy": sum(right) / len(right),
            "called": sum(bool(x.call.ids) for x in flat) / len(flat),
            "invalid": sum(x.call.status == "invalid" for x in flat) / len(flat),
            **stats,
        }
        self.log.write(step=self.step, **line)
        return line

    def _reward(self, row: Trajectory, rollout: Rollout) -> float:
        return reward(
            self.judge, self.config.cost,
            question=row.question, reference=row.answer, answer=rollout.answer,
            needed=row.label == "HR", crops=rollout.call.ids,
            called=rollout.call.status != "none",
        )  # fmt: skip

    def _update(self, rows: list[Conversation], advantage: Tensor) -> dict[str, float]:
        c = self.config
        with torch.no_grad():
            if self.reference is not None:
                reference, _ = log_likelihoods(self.loaded, self.reference, rows)
            else:
                with self.model.disable_adapter():
                    reference, _ = log_likelihoods(self.loaded, self.model, rows)
        loss = kl = norm = torch.zeros(())
        old: Tensor | None = None
        for _ in range(c.inner):
            logp, mask = log_likelihoods(self.loaded, self.model, rows)
            old = logp.detach() if old is None else old  # the policy that sampled
            gain = advantage.to(logp.device)
            loss, kl = grpo_loss(logp, old, reference, gain, mask, clip=c.clip, beta=c.beta)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss is {float(loss.detach())} at step {self.step}: the last good state "
                    f"is {self.state_path}; lower the learning rate"
                )
            for group in self.optimizer.param_groups:
                group["lr"] = c.lr * max(0.0, 1 - self.step / c.steps)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(self.trainable, c.max_grad_norm)
            self.optimizer.step()
        return {"loss": float(loss.detach()), "kl": float(kl), "grad_norm": float(norm)}

    def save(self) -> None:
        """Write the resumable state; the old one stays until the new one is whole."""
        state = {
            "step": self.step,
            "weights": [p.detach().cpu() for p in self.trainable],
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        with whole_file(self.state_path) as file:
            torch.save(state, file)

    def _resume(self) -> None:
        state = torch.load(self.state_path, weights_only=True)
        with torch.no_grad():
            for mine, theirs in zip(self.trainable, state["weights"], strict=True):
                mine.copy_(theirs)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.step = int(state["step"])


def run_grpo(
    config: GrpoConfig,
    judge: Judge | None = None,
    report: Callable[[str], None] = print,
    progress: Progress = lambda _done, _steps: None,
) -> Path:
    """Train and write the result to ``out/final``; returns that folder."""
    folder = config.trajectories.parent
    rows = readable(list(read_trajectories(config.trajectories, report)), folder, report)
    if not rows:
        raise TrainingError(f"{config.trajectories} holds no usable trajectory")
    run = GrpoRun(config, judge)
    run.train(rows, folder, progress)
    run.log.plot("reward", "accuracy", "called", "kl")
    return save_final(run.loaded, config.out / "final")
