"""Mixes of formats within budgets: they hold, what drifts least comes first, keep is kept."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from awares_edge.checkpoint import Checkpoint
from awares_edge.errors import ExportError
from awares_edge.export import OnnxFormat, export_checkpoint
from awares_edge.export.measured import drift_layers, read_measured
from awares_edge.export.times import read_times
from awares_edge.protocol.profiles import get_profile
from tests.export.test_onnx_precisions import conversation, stored
from tests.support.checkpoints import make_checkpoint
from tests.support.measured import flat_measured
from tests.support.times import made_up_times

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
    def export(budget_mb=None, **options):
        options = {"calibration": file, "budget_mb": budget_mb, **options}
        return export_checkpoint(
            checkpoint,
            tmp_path / f"b{len(list(tmp_path.iterdir()))}",
            format=OnnxFormat("mixed", **options),
            profile=get_profile("paper"),
        )

    return export


@pytest.fixture(scope="module")
def times(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("times") / "times.json"
    made_up_times(Checkpoint.open(checkpoint).spec).save(path)
    return path


def weight_bytes(bundle):
    return sum(
        bundle.manifest.files[n].bytes for n in ("embedding.npy", "text.data", "vision.data")
    )


def smallest(export, unit="MB", **options):
    with pytest.raises(ExportError, match="is too small for this model: give at least") as refusal:
        export(**{"budget_mb": 0.01 if unit == "MB" else None, **options})
    return float(re.search(rf"at least ([0-9.]+) {unit}", str(refusal.value))[1])


def kinds(bundle):
    """Formats of the matrices that a mix chooses for, by name."""
    found = {}
    for graph in ("text", "vision"):
        for name in stored(bundle, graph):
            matrix, _, kind = name.partition(":")
            if not kind.endswith(".scale"):
                found[matrix] = kind.partition(".")[0] or "fp16"
    return found


def estimate(bundle, times):
    """Of the formats that the bundle's files really have."""
    times = read_times(times, bundle.manifest.model)
    found = kinds(bundle)
    return times.estimate({name: found[name] for name in times.matrices})


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


def test_a_budget_of_milliseconds(export, times):
    least = smallest(export, "ms", budget_ms=0.01, times=times)
    drifting = []
    for budget in (least, 1.2 * least, 1.5 * least, 1e6):
        bundle = export(budget_ms=budget, times=times)
        ms = estimate(bundle, times)
        assert ms <= budget
        assert float(bundle.manifest.provenance["estimated_ms"]) == pytest.approx(ms, abs=0.051)
        assert bundle.manifest.provenance["estimated_for"] == "made up, threads: 2"
        drifting.append(Counter(kinds(bundle).values()))
    # The fastest mix: int8, but 4 bits for the head.
    assert drifting[0]["int4"] == 1
    assert drifting[0]["fp16"] < drifting[1]["fp16"] < drifting[2]["fp16"]
    # The patch embedding has no drift, and stays as in int8.
    assert drifting[3].keys() == {"fp16", "int8"}
    assert drifting[3]["int8"] == 1


def test_both_budgets_hold(export, times):
    mb, ms = smallest(export), smallest(export, "ms", budget_ms=0.01, times=times)
    small, fast = export(mb, times=times), export(budget_ms=ms, times=times)
    # In between: neither the smallest mix nor the fastest one will do.
    between_mb = (mb + weight_bytes(fast) / 1e6) / 2
    between_ms = (ms + estimate(small, times)) / 2
    bundle = export(between_mb, budget_ms=between_ms, times=times)
    assert weight_bytes(bundle) / 1e6 <= between_mb < weight_bytes(fast) / 1e6
    assert estimate(bundle, times) <= between_ms < estimate(small, times)
    with pytest.raises(ExportError, match=r"takes at most .* ms: give at least") as refusal:
        export(mb, budget_ms=ms, times=times)
    named = float(re.search(r"give at least ([0-9.]+) ms, or more MB", str(refusal.value))[1])
    bundle = export(mb, budget_ms=named, times=times)
    assert weight_bytes(bundle) / 1e6 <= mb
    assert estimate(bundle, times) <= named


def test_what_the_user_keeps_counts_for_the_time(export, times):
    free = smallest(export, "ms", budget_ms=0.01, times=times)
    kept = smallest(export, "ms", budget_ms=0.01, times=times, keep=("text.layers.*=fp32",))
    assert kept > free + 1


def test_times_are_read_as_they_were_written(checkpoint, times):
    spec = Checkpoint.open(checkpoint).spec
    assert read_times(times, spec) == made_up_times(spec)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"rest_ms": 100.0', '"rest_ms": NaN', "NaN, which is not a JSON number"),
        ('"rest_ms": 100.0', '"rest_ms": -1', "rest_ms must be a number between 0"),
        ('"rest_ms": 100.0', '"rest_ms": 1e999', "rest_ms must be a number between 0"),
        ('"rest_ms": 100.0,', "", "lacks the field 'rest_ms'"),
        ('"threads": 2', '"threads": 2, "more": 1', "has an unknown field 'more'"),
        ('"version": 1', '"version": 2', "version must be"),
        ("awares-edge-times", "awares-edge-profile", "is not a file of times"),
        ("{", "[", "is not valid JSON"),
        ("made up", "\udcff", "is not a file of times"),
    ],
)
def test_damaged_times_are_refused(export, times, tmp_path, old, new, message):
    path = tmp_path / "damaged.json"
    text = times.read_text().replace(old, new, 1)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ExportError, match=message) as refusal:
        export(budget_ms=1e6, times=path)
    assert "measure it again with `awares-edge calibrate times`" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_times_of_another_model_are_refused(export, times, tmp_path):
    other = make_checkpoint(tmp_path / "wide", "wide")
    path = tmp_path / "other.json"
    made_up_times(Checkpoint.open(other).spec).save(path)
    with pytest.raises(ExportError, match="was measured on another model"):
        export(budget_ms=1e6, times=path)
    with pytest.raises(ExportError, match=r"cannot read .*missing.json: No such file"):
        export(budget_ms=1e6, times=tmp_path / "missing.json")


def test_settings_that_belong_together(file):
    for settings in ({}, {"budget_mb": 5.0}, {"budget_ms": 5.0}, {"calibration": file}):
        with pytest.raises(ExportError, match="mixed needs a budget in MB or ms and a calibration"):
            OnnxFormat("mixed", **settings)
    with pytest.raises(ExportError, match="a budget in ms needs the times of the device"):
        OnnxFormat("mixed", calibration=file, budget_ms=5.0)
    with pytest.raises(ExportError, match="4-bit blocks of 64: use these"):
        OnnxFormat("mixed", calibration=file, budget_ms=5.0, times=file, block=32)
    for settings in ({"budget_ms": 5.0}, {"times": file}):
        with pytest.raises(ExportError, match="a budget has no use at int8"):
            OnnxFormat("int8", calibration=file, **settings)
    with pytest.raises(ExportError, match="a budget has no use at int8"):
        OnnxFormat("int8", calibration=file, budget_mb=5.0)
    for budget in (0.0, -1.0, float("nan")):
        with pytest.raises(ExportError, match="budget_mb must be between"):
            OnnxFormat("mixed", calibration=file, budget_mb=budget)
        with pytest.raises(ExportError, match="budget_ms must be between"):
            OnnxFormat("mixed", calibration=file, budget_ms=budget, times=file)
