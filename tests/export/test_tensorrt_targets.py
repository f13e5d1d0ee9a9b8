"""Recipes of devices, and what is refused before anything is built."""

import pytest

from awares_edge.errors import ExportError
from awares_edge.export.tensorrt.files import make_plan
from awares_edge.export.tensorrt.format import TensorrtFormat
from awares_edge.export.tensorrt.formats import NUMBER_FORMATS
from awares_edge.export.tensorrt.memory import GIB, cache_bytes, estimate, weight_bytes
from awares_edge.export.tensorrt.targets import TARGETS, check_precision, get_target
from awares_edge.protocol import PROFILES
from awares_edge.runtimes.tensorrt.plan import Plan
from tests.support.vision_spec import qwen_spec

THREE, SEVEN = qwen_spec("3B"), qwen_spec("7B")


def plan(spec, precision, target, **options):
    return make_plan(spec, TensorrtFormat(precision, target, **options))


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_takes_a_3b_model_somehow(name):
    made = plan(THREE, "int8", name)
    assert made.target == name
    assert Plan.from_json(made.to_json()) == made
    assert made.describe_memory().startswith(f"about {estimate(THREE, made).total / GIB:.1f} GiB")
    assert made.prefill.max <= made.cache_length


@pytest.mark.parametrize(
    ("target", "precision"),
    [
        ("orin-nano", "fp8"),
        ("orin-agx", "fp8"),
        ("rtx30", "fp8"),
        ("rtx20", "int4"),
        ("rtx20", "bf16"),
        ("rtx20", "fp32"),
    ],
)
def test_arithmetic_that_a_gpu_does_not_have_is_refused(target, precision):
    with pytest.raises(ExportError, match=rf"SM .*does not take {precision}: choose fp16"):
        check_precision(get_target(target), precision)


@pytest.mark.parametrize("target", ["thor", "rtx40", "rtx50", "h100", "l4"])
def test_fp8_begins_with_ada(target):
    check_precision(get_target(target), "fp8")


@pytest.mark.parametrize("name", TARGETS)
def test_what_targets_take_exists(name):
    assert set(TARGETS[name].precisions) <= set(NUMBER_FORMATS)
    assert TARGETS[name].precisions[0] == "fp16"


def test_a_model_that_is_too_large_is_refused_with_what_would_fit():
    with pytest.raises(ExportError, match=r"3B needs .* GiB.*Orin Nano.*use precision int4"):
        plan(THREE, "fp16", "orin-nano")
    with pytest.raises(ExportError, match="smaller model"):
        plan(SEVEN, "int4", "orin-nano", memory=6)
    plan(THREE, "int4", "orin-nano")
    plan(SEVEN, "fp16", "orin-agx")


def test_a_cache_that_is_too_long_is_refused_with_one_that_fits():
    with pytest.raises(ExportError, match=r"a cache of \d+ cells would fit$") as refused:
        plan(THREE, "int8", "orin-nano", cache_length=65_536)
    cells = int(str(refused.value).split()[-4])
    assert plan(THREE, "int8", "orin-nano", cache_length=cells).cache_length == cells


def test_more_memory_than_the_familys_smallest():
    with pytest.raises(ExportError, match="RTX 40"):
        plan(SEVEN, "fp16", "rtx40")
    small, large = (plan(SEVEN, "int4", "rtx40", memory=gib) for gib in (8, 24))
    assert plan(SEVEN, "fp16", "rtx40", memory=24).patches == large.patches
    assert large.patches.max == 2 * small.patches.max


@pytest.mark.parametrize("name", TARGETS)
def test_scores_of_the_largest_picture_leave_room_for_the_model(name):
    """The vision tower's attention, as if TensorRT fused nothing."""
    target, made = TARGETS[name], plan(THREE, "int8", name)
    scores = 2 * made.patches.max**2 * THREE.vision.heads * 2
    assert scores <= target.memory / 2
    assert estimate(THREE, made).activations > scores


def test_options_are_checked():
    with pytest.raises(ExportError, match="name the target device: one of orin-nano, "):
        TensorrtFormat()
    with pytest.raises(ExportError, match="no target 'orin'"):
        plan(THREE, "int8", "orin")
    with pytest.raises(ExportError, match="between 64 and 1048576 cells, not 3"):
        TensorrtFormat(target="h100", cache_length=3)
    with pytest.raises(ExportError, match="between 1 and 4096 GiB, not -1"):
        TensorrtFormat(target="h100", memory=-1)


def test_the_bundles_protocol_keeps_pictures_within_the_engine():
    paper = PROFILES["paper"]
    limited = TensorrtFormat(target="orin-nano").limit(paper, THREE)
    made = plan(THREE, "int4", "orin-nano")
    assert limited.max_pixels == 1024 * 28 * 28
    assert limited.max_pixels // 14**2 == made.patches.max
    readme = PROFILES["evaluator"]
    assert TensorrtFormat(target="h100").limit(readme, THREE) == readme


def test_weights_of_the_published_models():
    """Parameters of the published checkpoints (3.75B and 8.29B with the vision tower)."""
    made = plan(THREE, "fp16", "h100")
    text, vision = weight_bytes(THREE, made)
    assert text + vision == pytest.approx(3.75e9 * 2, rel=0.01)
    text, vision = weight_bytes(SEVEN, plan(SEVEN, "fp16", "h100"))
    embedding = SEVEN.vocabulary * SEVEN.hidden_size
    assert text + vision == pytest.approx((8.29e9 - embedding) * 2, rel=0.01)


def test_quantized_weights_are_as_small_as_they_should_be():
    fp16 = weight_bytes(THREE, plan(THREE, "fp16", "h100"))
    int8 = weight_bytes(THREE, plan(THREE, "int8", "h100"))
    int4 = weight_bytes(THREE, plan(THREE, "int4", "h100"))
    assert fp16[1] == int8[1] == int4[1]
    assert 0.50 < int8[0] / fp16[0] < 0.51
    # The head stays at int8.
    assert 0.27 < int4[0] / fp16[0] < 0.33


def test_cache_and_parts_of_the_estimate():
    made = plan(THREE, "fp16", "h100")
    assert cache_bytes(THREE, made) == 36_864 * made.cache_length
    found = estimate(THREE, made)
    assert found.total == found.text + found.vision + found.caches + found.activations
    assert found.build > found.text * 3
    assert found.describe().startswith(f"{found.total / GIB:.1f} GiB: text")
