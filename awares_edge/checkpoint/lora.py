"""LoRA adapters of PEFT, merged into the weights as they stream by."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.json_object import JsonObject
from awares_edge.checkpoint.module_pattern import matches
from awares_edge.checkpoint.names import canonical
from awares_edge.checkpoint.safetensors_header import read_header
from awares_edge.checkpoint.tensorfile import Array, Stored, Tensor, Weights, chunks, finite
from awares_edge.errors import CheckpointError

_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_KEY = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
# Settings that change the arithmetic beyond W + scale * B A: they cannot be merged here.
_UNSUPPORTED = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
)


@dataclass(frozen=True, slots=True)
class LowRank:
    """One module's update: scale * up @ down.

    Attributes:
        down: A, [r, in]; up: B, [out, r].
        scale: alpha / r, or alpha / sqrt(r) for rank-stabilised adapters.
    """

    down: Stored
    up: Stored
    scale: float


@dataclass(frozen=True, slots=True)
class Adapter:
    """A verified LoRA adapter: its updates by the canonical name of the weight they change."""

    updates: dict[str, LowRank]

    @classmethod
    def open(cls, root: Path, base: Checkpoint) -> Adapter:
        """Read and verify an adapter folder against the checkpoint it is for.

        Raises:
            CheckpointError: not a LoRA adapter in safetensors, of a kind that cannot be merged,
                or not made for this checkpoint.
        """
        if not root.is_dir():
            raise CheckpointError(f"no such adapter folder: {root}")
        config = JsonObject.read(root / "adapter_config.json")
        _check_kind(config)
        if not (root / _FILE).is_file():
            pickled = any(root.glob("adapter_model.bin"))
            advice = (
                "its weights are pickled, which are never loaded: convert them to safetensors"
                if pickled
                else "download the adapter again"
            )
            raise CheckpointError(f"{root} has no {_FILE}: {advice}")
        pairs: dict[str, _Pair] = {}
        for key, stored in read_header(root / _FILE).items():
            match = _KEY.fullmatch(key.removeprefix(_PREFIX))
            if match is None and _repeats_base(base, key, stored):
                continue
            name = canonical(f"{match[1]}.weight") if match else None
            if match is None or name is None:
                raise CheckpointError(
                    f"{root / _FILE} holds {key}, which is not a LoRA weight of Qwen2.5-VL: merge "
                    "the adapter with PEFT first"
                )
            pairs.setdefault(name, _Pair(match[1], {})).halves[match[2]] = stored
        if not pairs:
            raise CheckpointError(f"{root / _FILE} has no LoRA weights")
        return cls({name: _update(root, config, base, name, pair) for name, pair in pairs.items()})


@dataclass(frozen=True, slots=True)
class _Pair:
    """A module's name in the adapter, and its stored halves A and B."""

    module: str
    halves: dict[str, Stored]


def merge(weights: Weights, adapter: Adapter) -> Weights:
    """The weights with the adapter's updates added, in float32, as they are read."""
    return _Merged(weights, adapter)


class _Merged:
    def __init__(self, weights: Weights, adapter: Adapter) -> None:
        self._weights = weights
        self._adapter = adapter

    def tensor(self, name: str) -> Tensor:
        tensor = self._weights.tensor(name)
        update = self._adapter.updates.get(name)
        return tensor if update is None else _Updated(tensor, update)


class _Updated:
    def __init__(self, base: Tensor, update: LowRank) -> None:
        self._base = base
        self._update = update
        self._down = update.down.rows(0, update.down.shape[0])

    @property
    def name(self) -> str:
        return self._base.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._base.shape

    def rows(self, start: int, stop: int) -> Array:
        up = self._update.up.rows(start, stop)
        merged: Array = self._base.rows(start, stop)
        with np.errstate(over="ignore", invalid="ignore"):
            merged += self._update.scale * (up @ self._down)
        return finite(merged, self.name)


def _repeats_base(base: Checkpoint, key: str, stored: Stored) -> bool:
    """Whether a tensor is the checkpoint's own: PEFT saves the embedding layers it adapts."""
    name = canonical(key.removeprefix(_PREFIX).replace(".base_layer.", "."))
    if name is None or not base.has(name) or base.tensor(name).shape != stored.shape:
        return False
    pieces = zip(chunks(stored), chunks(base.tensor(name)), strict=True)
    return all(np.array_equal(a, b) for a, b in pieces)


def _check_kind(config: JsonObject) -> None:
    kind = config.data.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{config.where}: an adapter of type {kind!r} cannot be merged")
    if config.string("bias", "none") != "none":
        raise CheckpointError(f"{config.where}: it trains biases too: merge it with PEFT first")
    for option in _UNSUPPORTED:
        if config.data.get(option):
            raise CheckpointError(f"{config.where}: {option} is set: merge with PEFT first")
    # PiSSA, OLoRA, CorDA and LoftQ change the base weights too.
    start = config.data.get("init_lora_weights", True)
    if isinstance(start, str) and start not in ("gaussian", "eva", "orthogonal"):
        raise CheckpointError(
            f"{config.where}: init_lora_weights {start!r} changes the base: merge with PEFT first"
        )


def _update(root: Path, config: JsonObject, base: Checkpoint, name: str, pair: _Pair) -> LowRank:
    module = pair.module
    if set(pair.halves) != {"A", "B"}:
        raise CheckpointError(f"{root / _FILE} has only half of the update of {module}")
    if not base.has(name):
        raise CheckpointError(f"{root} updates {module}, which {base.root} does not have")
    rank = int(_pattern(config, "rank_pattern", module, config.integer("r")))
    alpha = _pattern(config, "alpha_pattern", module, config.number("lora_alpha", 8))
    down, up, shape = pair.halves["A"], pair.halves["B"], base.tensor(name).shape
    # `fan_in_fan_out` has no meaning for these layers; PEFT itself resets it.
    if len(shape) != 2 or down.shape != (rank, shape[1]) or up.shape != (shape[0], rank):
        raise CheckpointError(
            f"{root}: the update of {module} has shapes {list(up.shape)} and {list(down.shape)}, "
            f"which do not fit rank {rank} and the weight {list(shape)}: is the adapter for "
            "another model?"
        )
    stabilised = config.boolean("use_rslora", False)
    return LowRank(down, up, alpha / (math.sqrt(rank) if stabilised else rank))


def _pattern(config: JsonObject, key: str, module: str, default: float) -> float:
    """PEFT's overrides of a module (`get_pattern_key`): the first pattern that matches."""
    patterns = config.child(key)
    for pattern in patterns.data:
        try:
            if matches(pattern, module):
                return patterns.number(pattern)
        except ValueError as error:
            raise CheckpointError(
                f"{patterns.where}: the pattern {pattern[:80]!r} {error}: merge with PEFT first"
            ) from error
    return default
