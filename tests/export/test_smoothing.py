"""Outliers move from inputs into weights: exactly, where it helps, and never silently."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from awares_edge.calibration.observe import put_weights
from awares_edge.calibration.questions import synthetic_questions
from awares_edge.calibration.weights import measure_weights
from awares_edge.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.export import OnnxFormat, export_checkpoint
from awares_edge.export.graph.weights import Rounding
from awares_edge.export.histogram import count
from awares_edge.export.measured import Inputs
from awares_edge.export.onnx.formats import BlockInt4, DynamicInt8
from awares_edge.export.smoothing import smooth
from awares_edge.export.smoothing.error import Columns, relative_error
from awares_edge.export.smoothing.sites import find_sites
from awares_edge.protocol.profiles import get_profile
from awares_edge.runtimes.base import ImageSegment, TextSegment
from awares_edge.runtimes.torch_reference import TorchRuntime
from tests.export.test_onnx_precisions import conversation, stored
from tests.support.checkpoints import SHAPES, make_checkpoint
from tests.support.outliers import plant_outliers
from tests.support.pairs import noise_patches

QUESTIONS = synthetic_questions(8)


@pytest.fixture(scope="module", params=["untied", "tied"])
def plain(request, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("plain") / request.param, request.param)


@pytest.fixture(scope="module")
def planted(plain, tmp_path_factory):
    return plant_outliers(plain, tmp_path_factory.mktemp("planted") / plain.name)


@pytest.fixture(scope="module")
def measured(planted):
    return measure_weights(planted, QUESTIONS, dataset="synthetic suite")


@pytest.fixture(scope="module")
def file(measured, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "measured.safetensors"
    measured.save(path)
    return path


@pytest.fixture(scope="module")
def export(planted, tmp_path_factory):
    made = {}

    def export(precision, **options):
        key = (precision, *options.items())
        if key not in made:
            made[key] = export_checkpoint(
                planted,
                tmp_path_factory.mktemp("bundle") / "b",
                format=OnnxFormat(precision, **options),
                profile=get_profile("paper"),
            )
        return made[key]

    return export


def every_layer(name, shape):
    """int8 everywhere but in the head, which transformers shares with a tied embedding."""
    return [] if name == EMBEDDING else [DynamicInt8()]


def computed(runtime):
    """Logits of a prompt with a picture, in transformers."""
    with runtime.open_session() as session:
        image = ImageSegment(runtime.encode_image(noise_patches(140, 196, 1)))
        return session.prefill([TextSegment((5, 9, 30)), image, TextSegment((7, 2))], keep_logits=3)


def test_planted_outliers_change_nothing_in_float32(plain, planted):
    before, after = (computed(TorchRuntime.load(path)) for path in (plain, planted))
    np.testing.assert_allclose(after, before, atol=2e-4 * before.std())


def test_smoothing_changes_not_one_bit_in_float32(planted, measured):
    """Powers of two scale every number exactly: transformers computes the same, on both towers,
    with grouped heads, biases and fused layers."""
    source = Checkpoint.open(planted)
    runtime = TorchRuntime.load(planted)
    before = computed(runtime)
    smoothed = smooth(source, source.spec, measured, every_layer)
    changed = sum(
        not np.array_equal(smoothed.weights.tensor(name).rows(0, 1), source.tensor(name).rows(0, 1))
        for site in find_sites(source.spec)
        for matrix in site.matrices
        for name in matrix.split("+")
    )
    assert changed > 5 * source.spec.layers
    put_weights(runtime.model, smoothed.weights)
    assert np.array_equal(computed(runtime), before)


def test_inputs_are_smaller_by_what_was_folded(planted, measured):
    """The statistics that an export uses after smoothing are those of the smoothed model."""
    source = Checkpoint.open(planted)
    smoothed = smooth(source, source.spec, measured, every_layer).measured
    for name in ("text.layers.0.mlp.down_proj", "visual.blocks.0.attn.proj"):
        before, after = measured.inputs[name], smoothed.inputs[name]
        ratio = before.largest / after.largest
        assert np.array_equal(np.log2(ratio[after.largest > 0]) % 1, np.zeros((ratio > 0).sum()))
        assert after.range < before.range
        assert ratio.max() >= 16
        np.testing.assert_allclose(before.square, after.square * ratio**2, rtol=1e-5)


def drift(bundle, exact):
    """Norm of the difference of logits over that of the logits."""
    return np.linalg.norm(conversation(bundle) - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("precision", "gain"),
    [("int8", 5), ("int4", 1.5), ("int8+int4", 1.5), ("int4-fp16", 1.2)],
)
def test_an_export_with_the_file_undoes_planted_outliers(
    plain, export, file, precision, gain, tmp_path
):
    """As near to float32 as the model without outliers is, but for chance on six rows of logits;
    without the file it is far from that."""
    exact = conversation(export("fp32"))
    clean = export_checkpoint(
        plain, tmp_path / "clean", precision=precision, profile=get_profile("paper")
    )
    calibrated = drift(export(precision, calibration=file), exact)
    assert calibrated < 2 * drift(clean, exact)
    assert drift(export(precision), exact) > gain * calibrated


def test_the_embedding_itself_stays(export, file):
    tables = [
        np.load(export("int8", **options).path("embedding.npy"))
        for options in ({}, {"calibration": file})
    ]
    assert np.array_equal(*tables)


@pytest.mark.parametrize("format", [DynamicInt8(), BlockInt4(32)])
def test_predicted_errors_are_those_of_real_products(format):
    """Within a third, with outliers and without, against products that are really rounded."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(96, 128)).astype(np.float32)
    inputs = rng.normal(size=(400, 128)).astype(np.float32)
    for outlier in (1.0, 40.0):
        inputs[:, 5], weights[:, 5] = inputs[:, 5] * outlier, weights[:, 5] / outlier
        ones = np.ones(128, dtype=np.float32)
        columns = Columns(np.abs(weights).max(axis=0), (weights**2).mean(axis=0), weights)
        size = np.abs(inputs)
        statistics = Inputs(size.max(axis=0), size.mean(axis=0), (inputs**2).mean(axis=0))
        predicted = relative_error(columns, statistics, format.rounding, ones)
        product = (
            rounded(inputs, format.rounding, False) @ rounded(weights, format.rounding, True).T
        )
        exact = inputs @ weights.T
        actual = np.linalg.norm(product - exact) / np.linalg.norm(exact)
        assert 2 / 3 < predicted / actual < 3 / 2, (outlier, predicted, actual)


def rounded(rows, rounding: Rounding, weights: bool):
    """Rows rounded to the nearest step, as the format says."""
    levels = rounding.levels if weights else rounding.input_levels
    block = (rounding.block if weights else rounding.input_block) or rows.shape[1]
    blocks = rows.reshape(len(rows), -1, block)
    most = np.abs(blocks).max(axis=-1, keepdims=True)
    if not weights and not rounding.input_block:
        most = np.abs(rows).max()
    step = most / levels
    return (np.rint(blocks / step) * step).reshape(rows.shape)


def with_largest(inputs, largest):
    """Statistics with other largest magnitudes, and histograms that fit them."""
    return replace(inputs, largest=largest, histogram=count(largest[None], largest))


class TestExceptions:
    LAYER = "visual.merger.mlp.2"

    @pytest.fixture
    def huge(self, planted, measured, tmp_path):
        """A few tokens with huge inputs behind GELU, where nothing can be folded."""
        found = measured.inputs[self.LAYER]
        largest = found.largest.copy()
        largest[3] = 3e4
        inputs = {**measured.inputs, self.LAYER: with_largest(found, largest)}
        path = tmp_path / "m.safetensors"
        replace(measured, inputs=inputs).save(path)
        return path

    def test_a_layer_that_cannot_be_smoothed_is_stored_in_fp16(self, export, huge):
        bundle = export("int8", calibration=huge)
        assert f"{self.LAYER}.weight" in stored(bundle, "vision")
        assert bundle.manifest.provenance["kept_in_float"] == self.LAYER

    def test_a_head_that_is_kept_reads_the_plain_embedding(
        self, planted, measured, export, tmp_path
    ):
        """A tied head in fp16 has no weights of its own, so its norm must not be scaled."""
        name = "text.embed_tokens" if SHAPES[planted.name].tied else "lm_head"
        found = measured.inputs[name]
        # A few tokens in which every channel is huge: scales by channel help, but not enough.
        largest = 100 * np.exp2(np.arange(len(found.largest), dtype=np.float32) % 6)
        inputs = {**measured.inputs, name: with_largest(found, largest)}
        path = tmp_path / "head.safetensors"
        replace(measured, inputs=inputs).save(path)
        bundle = export("int8", calibration=path)
        assert bundle.manifest.provenance["kept_in_float"] == name
        assert not any(name in tensor and ":int8" in tensor for tensor in stored(bundle))
        assert drift(bundle, conversation(export("fp32"))) < 0.1

    def test_what_the_user_keeps_comes_first(self, export, huge):
        bundle = export("int8", calibration=huge, keep=(f"{self.LAYER}=int8",))
        assert f"{self.LAYER}.weight:int8" in stored(bundle, "vision")

    def test_others_are_quantized(self, export, file):
        bundle = export("int8", calibration=file)
        depth = bundle.manifest.model.vision.depth
        floats = {name for name in stored(bundle, "vision") if ":int8" not in name}
        assert floats == {f"visual.blocks.{depth - 1}.mlp.down_proj.weight"}


def test_graphs_with_smoothed_weights_are_whole(export, file):
    for name in ("text.onnx", "vision.onnx"):
        onnx.checker.check_model(str(export("int8", calibration=file).path(name)), full_check=True)


def test_every_matrix_has_one_site(plain):
    """The patch embedding reads pixels; all other matrices have a site, once."""
    spec = Checkpoint.open(plain).spec
    names = [part for site in find_sites(spec) for m in site.matrices for part in m.split("+")]
    assert len(names) == len(set(names)) == 7 * spec.layers + 1 + 5 * spec.vision.depth + 2
    assert SHAPES[plain.name].tied is (EMBEDDING in names)
