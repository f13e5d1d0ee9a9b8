"""State files: a stage takes over complete parts, or reports one line, whatever the file holds."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import Qwen2_5_VLForConditionalGeneration  # noqa: E402

from awares_edge.errors import CheckpointError  # noqa: E402
from recipes.nano.config import build_model, nano_config  # noqa: E402
from recipes.nano.fast_vision import FastVision  # noqa: E402
from recipes.nano.loop import LoopOptions, Schedule  # noqa: E402
from recipes.nano.optim import MixedOptimizer  # noqa: E402
from recipes.nano.packed_model import PackedModel  # noqa: E402
from recipes.nano.run import NanoOptions, run_recipe  # noqa: E402
from recipes.nano.save import save_checkpoint  # noqa: E402
from recipes.nano.stages import RECIPE, smoke_sized  # noqa: E402
from recipes.nano.states import (  # noqa: E402
    load_state,
    read_weights,
    save_state,
    take_over,
)
from recipes.nano.views import Slots  # noqa: E402
from recipes.nano.vision_stage import VisionHeads  # noqa: E402

Weights = dict[str, Any]


def language(seed: int) -> PackedModel:
    return PackedModel(build_model(seed), Slots())


def vision(seed: int) -> VisionHeads:
    return VisionHeads(FastVision(build_model(seed)))


def kept(module: torch.nn.Module) -> Weights:
    return {k: v.clone() for k, v in module.state_dict().items()}


def equal(module: torch.nn.Module, weights: Weights, part: str) -> bool:
    mine = {k: v for k, v in module.state_dict().items() if k.startswith(part)}
    return bool(mine) and all(torch.equal(v, weights[k]) for k, v in mine.items())


@pytest.mark.parametrize(
    ("source", "target", "taken", "own"),
    [
        (language, language, ("vision.", "text.", "aux_place"), ()),
        (vision, vision, ("vision.", "aux.", "aux_things."), ()),
        (vision, language, ("vision.",), ("text.", "aux_place")),
        (language, vision, ("vision.",), ("aux.", "aux_things.")),
    ],
)
def test_a_stage_takes_over_what_it_shares_and_keeps_its_own(
    source: Callable[[int], torch.nn.Module],
    target: Callable[[int], torch.nn.Module],
    taken: tuple[str, ...],
    own: tuple[str, ...],
) -> None:
    given, module = kept(source(1)), target(2)
    before = kept(module)
    take_over(given, module, "state.pt")
    assert all(equal(module, given, part) for part in taken)
    assert all(equal(module, before, part) for part in own)


def _rename(weights: Weights, name: str, new: str) -> None:
    weights[new] = weights.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("vision.tower.merger.ln_q.weight"), r"merger\.ln_q\.weight is missing"),
        (
            lambda w: _rename(w, "text.text.norm.weight", "text.text.norms.weight"),
            r"text\.text\.norm\.weight is missing",
        ),
        (lambda w: w.update({"text.more": torch.ones(1)}), r"text\.more is unknown"),
        (
            lambda w: _rename(w, "aux_place.weight", "aux_plaice.weight"),
            r"aux_plaice\.weight belongs to no stage",
        ),
        (lambda w: w.pop("aux_place.bias"), r"aux_place\.bias is missing"),
        (lambda w: w.update(aux_place_norm=torch.ones(7)), r"shape \[7\], not \[192\]"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("vision.")], r"vision.* is missing"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(
    change: Callable[[Weights], Any], message: str
) -> None:
    weights, module = kept(language(1)), language(2)
    before = kept(module)
    change(weights)
    with pytest.raises(CheckpointError, match=f"old.pt does not fit the nano model .*{message}"):
        take_over(weights, module, "old.pt")
    assert equal(module, before, "")


class Hostile:
    """A pickle that would create a file if its code ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def _bytes(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def _saved(value: Any) -> Callable[[Path], Any]:
    return lambda path: torch.save(value, path)


def _truncated(path: Path) -> None:
    torch.save({"model": {"vision.x": torch.ones(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_bytes(b""), "cannot be read"),
        (_bytes(b"hello"), "cannot be read"),
        (_bytes(pickle.dumps({"model": {}}, 2)), "cannot be read"),
        (_truncated, "cannot be read"),
        (lambda path: torch.save({"model": Hostile(path.parent / "run")}, path), "cannot be read"),
        (lambda path: path.write_bytes(pickle.dumps(Hostile(path.parent / "run"), 2)), "cannot be"),
        (_saved([1, 2]), "holds no weights"),
        (_saved({"weights": {}}), "holds no weights"),
        (_saved({"model": {"vision.x": 1}}), "holds no weights"),
        (_saved({"model": {"x": torch.ones(1)}}), "x belongs to no stage"),
        (_saved({"model": {}}), "is missing"),
    ],
)
def test_a_file_that_is_not_a_state_is_reported_in_one_line(
    tmp_path: Path, write: Callable[[Path], Any], message: str
) -> None:
    path = tmp_path / "a.pt"
    write(path)
    with pytest.raises(CheckpointError, match=message) as raised:
        run_recipe(RECIPE, NanoOptions(tmp_path / "out", start=path))
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}, "does not fit .*missing"),
        ({"intermediate_size": 256}, "does not fit .*shape"),
        ({"num_hidden_layers": 2}, "cannot be loaded"),
    ],
    ids=["layers", "widths", "contradicts itself"],
)
def test_a_checkpoint_of_another_model_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    config = nano_config()
    for name, value in change.items():
        setattr(config.text_config, name, value)
    save_checkpoint(Qwen2_5_VLForConditionalGeneration(config), tmp_path / "other", {})
    with pytest.raises(CheckpointError, match=f"other {message}") as raised:
        run_recipe(RECIPE, NanoOptions(tmp_path / "out", start=tmp_path / "other"))
    assert "\n" not in str(raised.value)


def test_a_checkpoint_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_checkpoint(build_model(1), tmp_path / "nano", {})
    file = tmp_path / "nano" / "model.safetensors"
    weights = load_file(file)
    name = next(k for k in sorted(weights) if "layers.1" in k)
    _rename(weights, name, name.replace("weight", "weigth"))
    save_file(weights, file)
    with pytest.raises(CheckpointError, match="nano"):
        run_recipe(RECIPE, NanoOptions(tmp_path / "out", start=tmp_path / "nano"))
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        run_recipe(RECIPE, NanoOptions(tmp_path / "out", start=tmp_path / "none"))


def _optimizer(module: torch.nn.Module) -> MixedOptimizer:
    return MixedOptimizer(list(module.named_parameters()), lr=0.1)


def test_a_state_loads_only_into_its_own_stage(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    saved, same, other = vision(1), vision(2), language(3)
    save_state(path, saved, _optimizer(saved), 7)
    assert load_state(path, same, _optimizer(same)) == 7
    assert equal(same, kept(saved), "")
    with pytest.raises(CheckpointError, match="not this stage's state"):
        load_state(path, other, _optimizer(other))
    torch.save({"model": read_weights(path)}, path)
    with pytest.raises(CheckpointError, match="it holds weights only"):
        load_state(path, same, _optimizer(same))


def test_text_survives_a_stage_that_has_none(tmp_path: Path) -> None:
    """A run that starts with the vision stage hands the start's text weights on to the policy."""
    start = tmp_path / "start.pt"
    module = language(9).bfloat16()
    torch.save({"model": module.state_dict()}, start)
    still = [
        dataclasses.replace(s, lr=0.0, schedule=Schedule(1, 1, 1))
        for s in smoke_sized(RECIPE)
        if s.name != "reading"
    ]
    loop = LoopOptions(log_every=1, save_every=1, workers=0)
    options = NanoOptions(tmp_path / "run", start=start, compiled=False, loop=loop)
    assert run_recipe(still, options) is not None
    weights = read_weights(tmp_path / "run" / "policy" / "state.pt")
    name = "text.text.layers.3.mlp.down_proj.weight"
    assert torch.equal(weights[name], module.state_dict()[name])
