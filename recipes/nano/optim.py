"""Mixed-precision optimiser: bf16 weights, fp32 masters; Muon for matrices, AdamW for the rest.

Muon (Jordan, 2024) takes the momentum of a matrix and makes it nearly orthogonal by a few
Newton-Schulz steps. Matrices of equal shape are batched.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn


def orthogonalise(x: Tensor, steps: int = 5) -> Tensor:
    """Five-term Newton-Schulz iteration in bf16 over x [n, rows, columns]; returns float32."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[1] > x.shape[2]
    y = x.mT if tall else x
    y = (y / (y.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(steps):
        gram = y @ y.mT
        y = a * y + (b * gram + c * gram @ gram) @ y
    result: Tensor = (y.mT if tall else y).float()
    return result


def weights_to_bf16(module: nn.Module) -> None:
    """Cast parameters in place. Buffers stay fp32: rotary angles and pixel scales need it."""
    for parameter in module.parameters():
        parameter.data = parameter.data.bfloat16()


class MixedOptimizer:
    """Updates named parameters in place from their gradients.

    Muon updates the matrices of hidden layers. AdamW, at ``adam_ratio`` of the learning rate,
    updates the embedding, auxiliary heads (named "aux...") and everything that is not a matrix.
    """

    def __init__(
        self,
        named: list[tuple[str, nn.Parameter]],
        *,
        lr: float,
        adam_ratio: float = 0.1,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        self.named = named
        self.lr, self.adam_ratio, self.weight_decay = lr, adam_ratio, weight_decay
        self.momentum, self.betas = momentum, betas
        self.step_count = 0
        self.masters = [p.detach().float().clone() for _, p in named]
        self.first = [torch.zeros_like(m) for m in self.masters]
        self.second: dict[int, Tensor] = {}
        self.groups: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
        for i, (name, p) in enumerate(named):
            hidden = p.ndim == 2 and "embed" not in name and "aux" not in name
            if hidden:
                parts = 3 if name.endswith("qkv.weight") else 1
                rows = p.shape[0] // parts
                for part in range(parts):
                    self.groups[(rows, p.shape[1])].append((i, part * rows, (part + 1) * rows))
            else:
                self.second[i] = torch.zeros_like(self.masters[i])

    @torch.no_grad()
    def read_weights(self) -> None:
        """Copy the parameters into the fp32 masters."""
        for (_, p), master in zip(self.named, self.masters, strict=True):
            master.copy_(p)

    def to(self, device: str) -> None:
        """Move masters and moments to ``device``."""
        self.masters = [x.to(device) for x in self.masters]
        self.first = [x.to(device) for x in self.first]
        self.second = {i: x.to(device) for i, x in self.second.items()}

    def clip(self, limit: float) -> float:
        """Scale gradients to a global norm of at most ``limit``; return the norm."""
        grads = [p.grad for _, p in self.named if p.grad is not None]
        norm = torch.stack([g.float().norm() for g in grads]).norm()
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        for g in grads:
            g.mul_(factor.to(g.dtype))
        return float(norm)

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One update at ``lr * scale``; gradients are cleared."""
        self.step_count += 1
        lr = self.lr * scale
        b1, b2 = self.betas
        grads = [None if p.grad is None else p.grad.float() for _, p in self.named]
        for i, second in self.second.items():
            grad = grads[i]
            if grad is None:
                continue
            self.first[i].lerp_(grad, 1 - b1)
            second.mul_(b2).addcmul_(grad, grad, value=1 - b2)
            rate = lr * self.adam_ratio
            m = self.first[i] / (1 - b1**self.step_count)
            v = second / (1 - b2**self.step_count)
            if self.masters[i].ndim > 1:
                self.masters[i].mul_(1 - rate * self.weight_decay)
            self.masters[i].addcdiv_(m, v.sqrt().add_(1e-8), value=-rate)
        for (rows, columns), members in self.groups.items():
            live = [x for x in members if grads[x[0]] is not None]
            if not live:
                continue
            stack = []
            for i, lo, hi in live:
                grad = grads[i]
                assert grad is not None
                momentum = self.first[i][lo:hi]
                momentum.lerp_(grad[lo:hi], 1 - self.momentum)
                stack.append(torch.lerp(grad[lo:hi], momentum, self.momentum))
            update = orthogonalise(torch.stack(stack))
            for (i, lo, hi), u in zip(live, update, strict=True):
                factor = lr * max(1.0, rows / columns) ** 0.5
                master = self.masters[i][lo:hi]
                master.mul_(1 - lr * self.weight_decay).add_(u, alpha=-factor)
        for (_, p), master in zip(self.named, self.masters, strict=True):
            p.copy_(master)
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step_count,
            "masters": self.masters,
            "first": self.first,
            "second": self.second,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step_count = state["step"]
        for mine, theirs in zip(self.masters, state["masters"], strict=True):
            mine.copy_(theirs)
        for mine, theirs in zip(self.first, state["first"], strict=True):
            mine.copy_(theirs)
        for i, theirs in state["second"].items():
            self.second[i].copy_(theirs)
        with torch.no_grad():
            for (_, p), master in zip(self.named, self.masters, strict=True):
                p.copy_(master)
