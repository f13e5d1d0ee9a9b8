"""Stage 0: the vision tower alone learns glyphs, from auxiliary heads dropped later."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from awares_edge.synth.pages import glyph_page, reduced_page
from awares_edge.training.aux_targets import CLASSES, SLOTS, glyph_slots
from awares_edge.training.fast import FastVision
from awares_edge.training.nano_config import build_model
from awares_edge.training.optim import MixedOptimizer
from awares_edge.training.patches import window_patches
from awares_edge.training.workers import be_nice

SINGLES, FOURS = 32, 4


class Pages(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Batch ``i`` is a function of (seed, i) alone, so a resumed run sees the same data."""

    def __init__(self, seed: int, ramp: int) -> None:
        self.seed, self.ramp = seed, ramp

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, i])
        jitter = float(np.clip((i - self.ramp * 0.15) / self.ramp, 0.0, 1.0))
        windows, slots = [], []
        for n in range(SINGLES + 4 * FOURS):
            make = reduced_page if n % 4 == 3 and jitter > 0 else glyph_page
            page, glyphs = make(rng, jitter)
            windows.append(window_patches(page))
            slots.append(glyph_slots(glyphs, 112, 112).reshape(16, SLOTS))
        return np.concatenate(windows), np.stack(slots)


class Stage0(nn.Module):
    def __init__(self, vision: FastVision) -> None:
        super().__init__()
        self.vision = vision
        self.aux = nn.Linear(192, SLOTS * CLASSES)

    def forward(self, patches: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        x = self.vision.windows(patches)
        one = self.vision.finish(x[:SINGLES], "one")
        four = self.vision.finish(x[SINGLES:].reshape(FOURS, 256, 192), "four")
        tokens = torch.cat([one, four.reshape(4 * FOURS, 16, 192)])
        logits = F.linear(tokens, self.aux.weight, self.aux.bias).float()
        logits = logits.view(-1, CLASSES)
        target = slots.reshape(-1).long()
        loss = F.cross_entropy(logits, target, reduction="none")
        full = target > 0
        weight = torch.where(full, 1.0, 0.3)
        hit = ((logits.argmax(-1) == target) & full).sum() / full.sum()
        return (loss * weight).sum() / weight.sum(), hit


def whiten(vision: FastVision, patches: Tensor) -> None:
    """Start the patch embedding from the principal components of real patches."""
    pixels = (patches.float() * vision.scale + vision.shift).reshape(-1, 588).double()
    values, vectors = torch.linalg.eigh(pixels.T @ pixels / len(pixels))
    top = vectors[:, -192:] / (values[-192:] + 1e-2).sqrt()
    weight = top.T.reshape(192, 3, 1, 14, 14).expand(-1, -1, 2, -1, -1) / 2
    with torch.no_grad():
        vision.tower.patch_embed.proj.weight.copy_(weight.float())


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--steps", type=int, default=100000)
    p.add_argument("--ramp", type=int, default=1200)
    p.add_argument("--lr", type=float, default=0.02)
    p.add_argument("--seconds", type=float, default=1e9)
    p.add_argument("--adam", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    model = build_model(a.seed)
    vision = FastVision(model)
    data = Pages(a.seed, a.ramp)
    whiten(vision, torch.from_numpy(np.concatenate([data[a.ramp * k][0] for k in (0, 1, 2)])))
    stage = Stage0(vision)
    nn.init.normal_(stage.aux.weight, std=0.02)
    stage.bfloat16()
    vision.scale, vision.shift = FastVision(model).scale, FastVision(model).shift
    named = [(n, q) for n, q in stage.named_parameters()]
    opt = MixedOptimizer(
        named, lr=a.lr, muon=lambda _: not a.adam, adam_ratio=1.0 if a.adam else 0.1
    )
    start = 0
    ckpt = a.out / "state.pt"
    if ckpt.exists():
        state: dict[str, Any] = torch.load(ckpt, weights_only=True)
        opt.load_state_dict(state["opt"])
        start = state["next"]
    forward = torch.compile(stage, dynamic=False)
    loader = DataLoader(
        data,
        batch_size=None,
        sampler=range(start, a.steps),
        num_workers=1,
        prefetch_factor=6,
        worker_init_fn=be_nice,
    )
    log = (a.out / "metrics.jsonl").open("a")
    began = time.time()
    sums = np.zeros(2)
    for i, (patches, slots) in zip(range(start, a.steps), loader, strict=False):
        loss, hit = forward(patches, slots)
        loss.backward()
        opt.clip(1.0)
        opt.step(min(1.0, (i + 1) / 30))
        sums += [float(loss), float(hit)]
        if (i + 1) % 20 == 0:
            line = {
                "step": i + 1,
                "s": round(time.time() - began, 1),
                "loss": round(sums[0] / 20, 4),
                "glyph": round(sums[1] / 20, 4),
            }
            print(json.dumps(line), flush=True)
            log.write(json.dumps(line) + "\n")
            log.flush()
            sums[:] = 0
        done = time.time() - began > a.seconds
        if (i + 1) % 200 == 0 or done:
            torch.save(
                {"opt": opt.state_dict(), "next": i + 1, "model": stage.state_dict()},
                str(ckpt) + ".tmp",
            )
            Path(str(ckpt) + ".tmp").rename(ckpt)
        if done:
            break


if __name__ == "__main__":
    main()
