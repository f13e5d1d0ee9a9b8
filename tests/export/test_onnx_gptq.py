"""ONNX exports with measured Hessians: which matrices GPTQ rounds, and what is gained."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from awares_edge import extras
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.calibration.weights import measure_weights
from awares_edge.checkpoint import Checkpoint
from awares_edge.errors import ExportError, RuntimeUnavailable
from awares_edge.export import OnnxFormat, export_checkpoint
from awares_edge.export.graph.weights import Matrix
from awares_edge.export.measured import drift_layers, layer_name, read_measured
from awares_edge.export.onnx.precisions import Formats
from awares_edge.export.smoothing import smooth
from awares_edge.export.smoothing.sites import find_sites
from awares_edge.protocol.profiles import get_profile
from tests.export.test_onnx_precisions import stored
from tests.export.test_smoothing import every_layer
from tests.support.checkpoints import make_checkpoint
from tests.support.outliers import plant_outliers

LIMIT = 96
"""More than most inputs of the model below have; WIDE have 160 and 256."""
ATTENTION = "text.layers.0.self_attn.o_proj"
WIDE = re.compile(r"^visual\.merger|^text\..*down_proj")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    root = tmp_path_factory.mktemp("gptq")
    return plant_outliers(make_checkpoint(root / "plain", "tied"), root / "planted")


@pytest.fixture(scope="module")
def measured(checkpoint):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 140, 196, 3), dtype=np.uint8)
    questions = [CalibrationQuestion(Image.fromarray(one), "What?", ("3",)) for one in noise]
    return measure_weights(checkpoint, questions, hessian_limit=LIMIT)


@pytest.fixture(scope="module")
def files(checkpoint, measured, tmp_path_factory):
    """The same measurement with Hessians and without them."""
    names = drift_layers(Checkpoint.open(checkpoint).spec)
    measured = replace(measured, drifts={name: {"int8": 1e-4, "int4": 1e-3} for name in names})
    root = tmp_path_factory.mktemp("files")
    measured.save(root / "with")
    replace(measured, hessians={}).save(root / "without")
    return root


@pytest.fixture(scope="module")
def export(checkpoint, files, tmp_path_factory):
    def export(precision, how=None, **options):
        given = {"calibration": files / how} if how else {}
        return export_checkpoint(
            checkpoint,
            tmp_path_factory.mktemp("bundle") / "b",
            format=OnnxFormat(precision, block=32, **given, **options),
            profile=get_profile("paper"),
        )

    return export


@pytest.mark.parametrize(
    ("precision", "options"),
    [("int4", {}), ("int8+int4", {}), ("int4-fp16", {}), ("mixed", {"budget_mb": 0.72})],
)
def test_every_4_bit_matrix_is_rounded_by_it(export, precision, options):
    found = {how: export(precision, how, **options) for how in ("with", "without")}
    tensors = {how: stored(bundle) for how, bundle in found.items()}
    blocks = [name for name in tensors["with"] if name.endswith(":int4.32")]
    assert len(blocks) > 4
    for name in blocks:
        same = np.array_equal(tensors["with"][name], tensors["without"][name])
        assert same is ("down_proj" in name)
    facts = found["with"].manifest.provenance
    blocks += [name for name in stored(found["with"], "vision") if name.endswith(":int4.32")]
    wide = [name for name in blocks if WIDE.search(name)]
    assert facts["gptq"] == f"{len(blocks) - len(wide)} of {len(blocks)} 4-bit matrices"
    assert ("text.layers.*.mlp.down_proj" in facts.get("without_gptq", "")) is bool(wide)
    assert "gptq" not in found["without"].manifest.provenance


def test_the_vision_tower_too(export):
    keep = ("visual.*=int4",)
    found = {how: export("int4", how, keep=keep) for how in ("with", "without")}
    facts = found["with"].manifest.provenance
    wide = "visual.merger.mlp.0, visual.merger.mlp.2, text.layers.*.mlp.down_proj"
    assert facts["without_gptq"] == wide
    tensors = [stored(bundle, "vision") for bundle in found.values()]
    blocks = [name for name in tensors[0] if name.endswith(":int4.32")]
    assert len(blocks) == 5 * 4 + 2
    for name in blocks:
        assert np.array_equal(*(one[name] for one in tensors)) is ("merger" in name)


def test_each_matrix_has_the_hessian_of_its_own_inputs(checkpoint, measured, export):
    """Every product of the smoothed model loses less, on the inputs that were measured."""
    keep, spec = ("visual.*=int4",), Checkpoint.open(checkpoint).spec
    formats = Formats("int4", keep, 32, depth=spec.vision.depth)
    smoothed = smooth(Checkpoint.open(checkpoint), spec, measured, formats.every)
    bundles = [export("int4", how, keep=keep) for how in ("with", "without")]
    tensors = [stored(bundle) | stored(bundle, "vision") for bundle in bundles]
    seen = 0
    for site in find_sites(spec):
        if hessian := smoothed.measured.hessians.get(layer_name(site.matrices[0].split("+")[0])):
            inputs = hessian.matrix()
            for name in site.matrices:
                exact = np.concatenate(list(Matrix.of(smoothed.weights, *name.split("+")).rows()))
                ours, others = (
                    np.sum((difference @ inputs) * difference)
                    for difference in (exact - numbers(found, name) for found in tensors)
                )
                assert ours < 0.95 * others, name
                seen += 1
    assert seen == 4 * spec.layers + 1 + 5 * spec.vision.depth


def numbers(tensors, name):
    """A 4-bit matrix as onnxruntime reads it."""
    packed, scales = tensors[f"{name}:int4.32"], tensors[f"{name}:int4.32.scale"]
    values = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*scales.shape, 32).astype(int)
    return ((values - 8) * scales[..., None]).reshape(len(scales), -1)


def test_int8_has_no_use_for_it(export):
    with_, without = (export("int8", how) for how in ("with", "without"))
    assert "gptq" not in with_.manifest.provenance
    names = ("text.data", "vision.data")
    assert all(with_.path(n).read_bytes() == without.path(n).read_bytes() for n in names)


def test_a_missing_package_is_named_before_the_work(export, monkeypatch):
    """Only where GPTQ is used: other exports do without it."""
    find = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda n: None if n == "threadpoolctl" else find(n))
    with pytest.raises(RuntimeUnavailable, match=r"GPTQ needs threadpoolctl: pip install"):
        export("int4", "with")
    export("int8", "with")
    export("int4", "without")


def test_hessians_follow_the_folded_scales(checkpoint, measured):
    """After smoothing they are those of the smoothed inputs."""
    source = Checkpoint.open(checkpoint)
    smoothed = smooth(source, source.spec, measured, every_layer).measured
    changed = 0
    for name, hessian in smoothed.hessians.items():
        square = smoothed.inputs[name].square
        np.testing.assert_allclose(np.diag(hessian.matrix()), square, rtol=1e-4)
        changed += not np.array_equal(square, measured.inputs[name].square)
    assert changed > 10


def test_a_damaged_file_writes_nothing(checkpoint, measured, tmp_path):
    file = tmp_path / "m"
    hessian = measured.hessians[ATTENTION]
    triangle = hessian.triangle().copy()
    triangle[1] = np.nan
    damaged = {ATTENTION: replace(hessian, triangle=lambda: triangle)}
    replace(measured, hessians=damaged).save(file)
    read_measured(file, Checkpoint.open(checkpoint).spec)
    with pytest.raises(ExportError, match=f"{ATTENTION} cannot be read or is not finite: measure"):
        export_checkpoint(
            checkpoint,
            tmp_path / "b",
            format=OnnxFormat("int4", block=32, calibration=file),
            profile=get_profile("paper"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
