"""TensorRT-RTX parses and builds our graphs ahead of time, without a GPU.

No engine is run here. Every precision builds for SM 8.6, 8.9 and 12.0, what is known to be refused
is refused, and the memory estimate's weights are the engines'.
"""

from pathlib import Path

import onnx
import pytest

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.errors import ExportError
from awares_edge.export.tensorrt.memory import weight_bytes
from awares_edge.runtimes.tensorrt.build import build_engines, build_graph
from awares_edge.runtimes.tensorrt.plan import Plan, Range
from awares_edge.runtimes.tensorrt.product import load_tensorrt
from tests.support import tensorrt_graphs as graphs
from tests.support.measured import flat_measured

pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'tensorrt-rtx==1.7.1.*'"
)
pytest.importorskip("torch")
pytestmark = pytest.mark.slow

# 80 and 128 are the published models' head widths, in the vision tower and in the language model.
WIDE = {
    "layers": 2,
    "hidden": 512,
    "heads": 4,
    "kv_heads": 2,
    "intermediate": 1024,
    "vocabulary": 4096,
    "mrope_section": (16, 24, 24),
    "vision_depth": 3,
    "vision_hidden": 640,
    "vision_heads": 8,
    "vision_intermediate": 1024,
}
SIZES = {
    "cache_length": 2048,
    "prefill": Range(1, 256, 1024),
    "patches": Range(4, 1024, 4096),
    "windows": 256,
    "tensorrt": ("1.7", "1.99"),
    "rtx": True,
    "capabilities": (86, 89, 120),
    "decode_profile": False,
}


@pytest.fixture(scope="module")
def trt():
    return load_tensorrt(rtx=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    from tests.support.checkpoints import Shape, make_checkpoint

    root = tmp_path_factory.mktemp("rtx") / "model"
    return Checkpoint.open(make_checkpoint(root, Shape(**WIDE), dtype="float16"))


@pytest.fixture(scope="module")
def nano():
    return Checkpoint.open(Path(__file__).parents[2] / "checkpoints" / "nano")


@pytest.fixture
def write(source, tmp_path):
    from tests.support.tensorrt_cpu import write_bundle

    def write(precision, **changes):
        folder = tmp_path / f"{precision}-{len(list(tmp_path.iterdir()))}"
        return write_bundle(folder, source, precision, **{**SIZES, **changes})

    return write


@pytest.mark.parametrize("capability", [86, 89, 120])
@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32", "int8", "int4"])
def test_every_precision_builds(trt, write, tmp_path, precision, capability):
    bundle = write(precision)
    built = build_engines(bundle, engines=tmp_path / "engines", ahead_for=capability, trt=trt)
    assert built.fresh
    text, vision = weight_bytes(bundle.manifest.model, Plan.read(bundle))
    # Small models carry the engine's own code and tables as well, some 2.5 MB of each engine.
    assert text <= built.sizes["text"] <= text * 1.1 + 4e6
    assert vision <= built.sizes["vision"] <= vision * 1.1 + 4e6
    assert not build_engines(
        bundle, engines=tmp_path / "engines", ahead_for=capability, trt=trt
    ).fresh


@pytest.mark.parametrize("capability", [86, 89, 120])
@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32", "int8", "int4"])
def test_the_nano_model_builds(trt, nano, tmp_path, precision, capability):
    from tests.support.tensorrt_cpu import write_bundle

    bundle = write_bundle(tmp_path / "bundle", nano, precision, **SIZES)
    engines = tmp_path / "engines"
    assert build_engines(bundle, engines=engines, ahead_for=capability, trt=trt).fresh


@pytest.mark.parametrize(
    ("precision", "capability"),
    [("w8a8", 75), ("w8a8", 86), ("w8a8", 120), ("fp8", 89), ("fp8", 120)],
)
def test_both_sides_quantized_builds(trt, source, write, tmp_path, precision, capability):
    bundle = write(precision, measured=flat_measured(source), capabilities=(capability,))
    built = build_engines(bundle, engines=tmp_path / "engines", ahead_for=capability, trt=trt)
    assert built.fresh


def test_an_fp8_model_is_refused_before_ada(trt, source, write, tmp_path):
    bundle = write("fp8", measured=flat_measured(source))
    with pytest.raises(ExportError, match="HW-specific datatypes: fp8"):
        build_engines(bundle, engines=tmp_path / "engines", ahead_for=86, trt=trt)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_turing_builds_what_its_target_offers(trt, write, tmp_path, precision):
    bundle = write(precision, capabilities=(75,))
    assert build_engines(bundle, engines=tmp_path / "engines", ahead_for=75, trt=trt).fresh


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("bf16", "HW-specific datatypes: b16"),
        ("int4", "HW-specific datatypes: int4"),
        ("fp32", "FP32 GEMM is not supported"),
    ],
)
def test_turing_refuses_what_its_target_does_not_offer(trt, write, tmp_path, precision, message):
    bundle = write(precision, capabilities=(75,))
    with pytest.raises(ExportError, match=message):
        build_engines(bundle, engines=tmp_path / "engines", ahead_for=75, trt=trt)


def test_a_second_profile_costs_memory(trt, write, tmp_path):
    sizes = []
    for both in (False, True):
        bundle = write("fp16", decode_profile=both)
        built = build_engines(bundle, engines=tmp_path / "engines", ahead_for=89, trt=trt)
        sizes.append(built.sizes["text"])
    # Up to double: the reason why RTX targets have one profile.
    assert 1.3 < sizes[1] / sizes[0] < 2.3


def attempt(trt, folder, model, *, capability=86, shapes=None):
    path = folder / "g.onnx"
    onnx.save_model(model, str(path))
    profiles = [] if shapes is None else [shapes]
    return build_graph(trt, path, profiles, capability=capability)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (graphs.attention_with_past, "Attention nodes with one output"),
        (graphs.attention_with_lengths, "would leave out part of g: Unused Input: n"),
        (graphs.group_query_attention, "refuses g"),
        (graphs.matmul_nbits, "refuses g"),
        (graphs.non_zero, "NonZero plugin"),
        (graphs.unique, "refuses g"),
        (graphs.mixed_add, "must have same input types"),
        (graphs.float_attention, "not supported by a dedicated kernel"),
        (graphs.dynamic_add, "no optimization profile"),
    ],
)
def test_known_refusals(trt, tmp_path, make, message):
    with pytest.raises(ExportError, match=message):
        attempt(trt, tmp_path, make())


def test_a_shape_that_the_plan_forgot(trt, tmp_path):
    with pytest.raises(ExportError, match="no shapes for the graph's input a"):
        attempt(trt, tmp_path, graphs.dynamic_add(), shapes={})


@pytest.mark.parametrize("capability", [86, 89, 120])
def test_fp8_begins_with_ada(trt, tmp_path, capability):
    model = graphs.quantized_gemm("fp8")
    if capability == 86:
        with pytest.raises(ExportError, match="HW-specific datatypes: fp8"):
            attempt(trt, tmp_path, model, capability=capability)
    else:
        attempt(trt, tmp_path, model, capability=capability)


def test_int8_on_both_sides_builds(trt, tmp_path):
    attempt(trt, tmp_path, graphs.quantized_gemm("int8"))


@pytest.mark.parametrize("capability", [87, 90])
def test_gpus_that_rtx_is_not_for(trt, tmp_path, capability):
    with pytest.raises(ExportError, match=f"does not build for SM {capability}"):
        attempt(trt, tmp_path, graphs.quantized_gemm("int8"), capability=capability)
