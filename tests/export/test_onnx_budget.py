"""Mixes of formats within a budget: the files fit, what drifts least comes first, keep is kept."""

import re
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from awares_edge.checkpoint import Checkpoint
from awares_edge.errors import ExportError
from awares_edge.export import OnnxFormat, export_checkpoint
from awares_edge.export.measured import drift_layers, read_measured
from awares_edge.export.onnx.budget import Choice, fit_budget
from awares_edge.protocol.profiles import get_profile
from tests.export.test_onnx_precisions import conversation, stored
from tests.support.checkpoints import make_checkpoint
from tests.support.measured import flat_measured

FRAGILE = "text.layers.0.mlp.down_proj"


@pytest.fixture(scope="module", params=["untied", "tied"])
def checkpoint(request, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("source") / request.param, request.param)


@pytest.fixture(scope="module")
def file(checkpoint, tmp_path_factory):
    """Drifts made up: one layer loses far more than all others."""
    source = Checkpoint.open(checkpoint)
    rng = np.random.default_rng(0)
    drifts = {
        name: dict(zip(("int8", "int4"), sorted(rng.uniform(1e-6, 1e-3, 2)), strict=True))
        for name in drift_layers(source.spec)
    }
    drifts[FRAGILE] = {"int8": 0.5, "int4": 0.9}
    path = tmp_path_factory.mktemp("file") / "m.safetensors"
    replace(flat_measured(source), drifts=drifts).save(path)
    return path


@pytest.fixture
def export(checkpoint, file, tmp_path):
    def export(budget, **options):
        options = {"calibration": file, "budget_mb": budget, **options}
        return export_checkpoint(
            checkpoint,
            tmp_path / f"b{len(list(tmp_path.iterdir()))}",
            format=OnnxFormat("mixed", **options),
            profile=get_profile("paper"),
        )

    return export


def weight_bytes(bundle):
    return sum(
        bundle.manifest.files[n].bytes for n in ("embedding.npy", "text.data", "vision.data")
    )


def smallest(export):
    with pytest.raises(ExportError, match="cannot hold this model: give at least") as refusal:
        export(0.01)
    return float(re.search(r"at least ([0-9.]+) MB", str(refusal.value))[1])


def test_drifts_are_read_as_they_were_written(checkpoint, file):
    found = read_measured(file, Checkpoint.open(checkpoint).spec)
    assert found.drifts[FRAGILE] == {"int8": np.float32(0.5), "int4": np.float32(0.9)}
    assert list(found.drifts) == drift_layers(Checkpoint.open(checkpoint).spec)


def test_the_files_are_within_the_budget(export):
    least = smallest(export)
    for budget in (least, least * 1.3, least * 1.8):
        bundle = export(budget)
        # What is left is less than the cheapest step: one matrix of this model.
        assert 0.8 * budget - 0.1 < weight_bytes(bundle) / 1e6 <= budget
        assert bundle.manifest.precision == "mixed"
        onnx.checker.check_model(str(bundle.path("text.onnx")), full_check=True)


def test_what_drifts_most_is_stored_best(export):
    bundle = export(smallest(export) + 0.03)
    formats = {name.partition(":")[0]: name.partition(":")[2] for name in stored(bundle)}
    assert formats[f"{FRAGILE}.weight"] == ""
    assert any(kind.startswith("int4") for kind in formats.values())
    assert "int4" in bundle.manifest.provenance["mix"]


def test_a_large_budget_gives_fp16(export):
    bundle = export(100)
    for graph in ("text", "vision"):
        kinds = Counter(name.partition(":")[2] for name in stored(bundle, graph))
        # The patch embedding has no drift, and stays as in int8.
        assert set(kinds) <= {"", "int8", "int8.scale"}
        assert kinds["int8"] == (graph == "vision")
    assert np.isfinite(conversation(bundle)).all()


def test_what_the_user_keeps_is_kept(export):
    bundle = export(100, keep=("text.layers.0.mlp.*=int4",))
    names = {name for name in stored(bundle) if name.startswith("text.layers.0.mlp")}
    assert all(":int4" in name for name in names)


def test_a_file_without_drifts_is_refused(checkpoint, export, tmp_path):
    plain = tmp_path / "plain.safetensors"
    flat_measured(Checkpoint.open(checkpoint)).save(plain)
    with pytest.raises(ExportError, match="holds no drifts: measure it again"):
        export(10, calibration=plain)


def test_settings_that_belong_together(file):
    for settings in ({}, {"budget_mb": 5.0}, {"calibration": file}):
        with pytest.raises(ExportError, match="mixed needs a budget in MB and a calibration file"):
            OnnxFormat("mixed", **settings)
    with pytest.raises(ExportError, match="a budget has no use at int8"):
        OnnxFormat("int8", calibration=file, budget_mb=5.0)
    for budget in (0.0, -1.0, float("nan")):
        with pytest.raises(ExportError, match="budget_mb must be between"):
            OnnxFormat("mixed", calibration=file, budget_mb=budget)


@pytest.mark.parametrize("seed", range(20))
def test_the_mix_is_near_the_best_one(seed):
    """Against every mix there is, for seven matrices: never above the budget, at most a tenth of
    what could be saved is missed, and no step that is left fits."""
    rng = np.random.default_rng(seed)
    options = {}
    for name in "abcdefg":
        size, loss = int(rng.integers(1, 100)), float(rng.uniform(0.01, 1))
        ways = (("int4", size, loss), ("int8", 2 * size, loss / 50), ("fp16", 4 * size, 0.0))
        options[name] = [Choice(*way) for way in ways]
    least = sum(ways[0].size for ways in options.values())
    budget = least * 1.7 + 40
    mix = fit_budget(options, 40, budget)
    chosen = [next(w for w in options[name] if w.format == mix[name]) for name in options]
    size, loss = (sum(getattr(w, part) for w in chosen) for part in ("size", "drift"))
    assert size + 40 <= budget
    every = [
        ways for ways in product(*options.values()) if sum(w.size for w in ways) + 40 <= budget
    ]
    best = min(sum(w.drift for w in ways) for ways in every)
    worst = sum(ways[0].drift for ways in options.values())
    assert loss - best <= 0.1 * (worst - best)
    left = budget - 40 - size
    for way, ways in zip(chosen, options.values(), strict=True):
        assert not any(w.drift < way.drift and w.size - way.size <= left for w in ways)
