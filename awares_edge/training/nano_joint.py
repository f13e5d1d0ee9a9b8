"""Runs the joint stage: `python -m awares_edge.training.nano_joint --out DIR --init STATE`."""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from awares_edge.training.batches import Batches, Mix
from awares_edge.training.joint import Joint
from awares_edge.training.nano_config import build_model
from awares_edge.training.optim import MixedOptimizer
from awares_edge.training.views import Slots
from awares_edge.training.workers import save_state, stream

ARRAYS = (
    "windows", "one", "wide", "tall", "aux", "things", "ids", "visual", "positions", "block",
    "places", "targets", "weights",
)  # fmt: skip


class Scores:
    """Exact-match counts by unit kind; also call decisions and their crops."""

    def __init__(self) -> None:
        self.hits: dict[str, int] = defaultdict(int)
        self.total: dict[str, int] = defaultdict(int)

    def add(self, batch: dict[str, Any], predicted: np.ndarray, call_token: int) -> None:
        places, targets = batch["places"].numpy(), batch["targets"].numpy()
        live = batch["weights"].numpy() > 0
        order = {int(p): k for k, p in enumerate(places) if live[k]}
        for kind, start, stop in batch["units"]:
            at = [order[p] for p in range(start, stop) if p in order]
            if len(at) < stop - start:
                continue
            right = predicted[at] == targets[at]
            self.count(kind, bool(right.all()))
            if kind in ("full small", "full large", "crop", "read"):
                for hit in right[:-1]:
                    self.count(f"{kind} chars", bool(hit))
            if kind == "call":
                self.count("called", bool(right[0]))
            if kind.startswith("low"):
                self.count("held", predicted[at[0]] != call_token)

    def count(self, kind: str, hit: bool) -> None:
        self.hits[kind] += int(hit)
        self.total[kind] += 1

    def take(self) -> dict[str, float]:
        out = {k: round(self.hits[k] / n, 4) for k, n in sorted(self.total.items())}
        self.hits.clear()
        self.total.clear()
        return out


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--init", type=Path)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--cooldown", type=int, default=1500)
    p.add_argument("--lr", type=float, default=0.015)
    p.add_argument("--adam-lr", type=float, default=1.5e-3)
    p.add_argument("--freeze-vision", action="store_true")
    p.add_argument("--fresh-text", action="store_true")
    p.add_argument("--aux", type=float, default=0.3)
    p.add_argument("--two-turn", type=float, default=0.5)
    p.add_argument("--high", type=float, default=0.45)
    p.add_argument("--place", type=float, default=0.0)
    p.add_argument("--drills", type=int, default=0)
    p.add_argument("--vision-scale", type=float, default=1.0)
    p.add_argument("--easy-start", type=float, default=0.9)
    p.add_argument("--easy-floor", type=float, default=0.0)
    p.add_argument("--easy-steps", type=int, default=1)
    p.add_argument("--muon", choices=("vision", "all"), default="all")
    p.add_argument("--read-all", type=float, default=0.0)
    p.add_argument("--seconds", type=float, default=1e9)
    p.add_argument("--log-every", type=int, default=25)
    for name, value in asdict(Slots()).items():
        p.add_argument(f"--{name}", type=int, default=value)
    a = p.parse_args()
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    slots = Slots(*(getattr(a, n) for n in asdict(Slots())))
    model = build_model(a.seed)
    joint = Joint(model, slots, a.aux).bfloat16()
    fresh = Joint(build_model(a.seed), slots, a.aux)
    for mine, theirs in zip(joint.modules(), fresh.modules(), strict=True):
        for name, b in theirs.named_buffers(recurse=False):
            setattr(mine, name, b)
    start = 0
    if a.init:
        weights = torch.load(a.init, weights_only=True)["model"]
        kept = {k: v for k, v in weights.items() if not (a.fresh_text and k.startswith("text."))}
        joint.load_state_dict(kept, strict=False)
    joint.place_weight = a.place
    if a.freeze_vision:
        joint.freeze_vision()
    opt = MixedOptimizer(
        [(n, q) for n, q in joint.named_parameters() if q.requires_grad],
        lr=a.lr,
        adam_ratio=a.adam_lr / a.lr,
        scale=lambda name: a.vision_scale if "vision." in name else 1.0,
        muon=lambda name: a.muon == "all" or "tower" in name,
    )
    ckpt = a.out / "state.pt"
    if ckpt.exists():
        state: dict[str, Any] = torch.load(ckpt, weights_only=True)
        joint.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        start = state["next"]
    data = Batches(
        "train",
        a.seed,
        slots,
        Mix(
            two_turn=a.two_turn,
            high=a.high,
            read_all=a.read_all,
            drills=a.drills,
            easy_steps=a.easy_steps,
            easy_start=a.easy_start,
            easy_floor=a.easy_floor,
        ),
    )
    call_token = data.packer.encode("GET_CROPS: ['0']")[0]
    forward = torch.compile(joint, dynamic=False)
    loader = stream(data, start, a.steps)
    log = (a.out / "metrics.jsonl").open("a")
    began, scores, sums, waited = time.time(), Scores(), np.zeros(3), 0.0
    mark = time.time()
    for i, batch in zip(range(start, a.steps), loader, strict=False):
        waited += time.time() - mark
        loss, language, hit, predicted = forward(**{k: batch[k] for k in ARRAYS})
        loss.backward()
        norm = opt.clip(1.0)
        if not np.isfinite(norm):
            raise SystemExit(f"step {i}: gradient norm {norm}; last good state is {ckpt}")
        scale = min(1.0, (i + 1) / 50, max(0.02, (a.steps - i) / a.cooldown))
        opt.step(scale)
        scores.add(batch, predicted.numpy(), call_token)
        sums += [float(loss.detach()), float(language), float(hit)]
        if (i + 1) % a.log_every == 0:
            n = a.log_every
            line = {
                "step": i + 1,
                "s": round(time.time() - began, 1),
                "wait": round(waited, 1),
                "loss": round(sums[0] / n, 4),
                "lm": round(sums[1] / n, 4),
                "glyph": round(sums[2] / n, 4),
                **scores.take(),
            }
            print(json.dumps(line), flush=True)
            log.write(json.dumps(line) + "\n")
            log.flush()
            sums[:] = 0
        done = time.time() - began > a.seconds or i + 1 == a.steps
        if (i + 1) % 100 == 0 or done:
            save_state(ckpt, joint, opt, i + 1)
        if done:
            break
        mark = time.time()


if __name__ == "__main__":
    main()
