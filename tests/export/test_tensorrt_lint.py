"""The lint: our graphs pass it, and what TensorRT refuses does not."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.errors import ExportError
from awares_edge.export.tensorrt.formats import NUMBER_FORMATS
from awares_edge.export.tensorrt.lint import lint, require_clean
from tests.support import tensorrt_graphs as graphs
from tests.support.tensorrt_graphs import HALF, node, small, value

FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    pytest.importorskip("torch")
    from tests.support.checkpoints import make_checkpoint

    return Checkpoint.open(make_checkpoint(tmp_path_factory.mktemp("lint") / "model", "tied"))


class AnyRange(dict):
    """The same range for every layer."""

    def __contains__(self, name):
        return True

    def __missing__(self, name):
        return 4.0


@pytest.mark.parametrize("precision", NUMBER_FORMATS)
def test_our_graphs_pass_and_say_what_they_use(source, tmp_path, precision):
    from tests.support.tensorrt_cpu import write_bundle

    bundle = write_bundle(tmp_path / "bundle", source, precision, AnyRange())
    versions = ["10.3", "10.13", "10.14", "10.15", "10.16", "11.4"]
    for name in ("text", "vision"):
        model = onnx.load(bundle.path(f"{name}.onnx"), load_external_data=False)
        onnx.checker.check_model(str(bundle.path(f"{name}.onnx")), full_check=True)
        for version in versions:
            assert lint(model, version) == []
        assert lint(model, "1.7", rtx=True) == []
        newer = precision == "int4" and name == "text"
        assert model.opset_import[0].version == (21 if newer else 20)
        assert len(model.opset_import) == 1


def test_interfaces(source, tmp_path):
    from tests.support.tensorrt_cpu import write_bundle

    bundle = write_bundle(tmp_path / "bundle", source, "fp16")
    model = onnx.load(bundle.path("text.onnx"), load_external_data=False)
    inputs = {v.name for v in model.graph.input}
    outputs = {v.name for v in model.graph.output}
    assert {"inputs_embeds", "position_ids", "logits_index", "attention_mask"} <= inputs
    layers = range(source.spec.layers)
    assert outputs == {"logits"} | {f"new.{i}.{p}" for i in layers for p in ("key", "value")}


@pytest.mark.parametrize(
    ("make", "issue"),
    [
        (graphs.attention_with_past, "one output too many"),
        (graphs.attention_with_lengths, "nonpad_kv_seqlen would be ignored"),
        (graphs.group_query_attention, "GroupQueryAttention of com.microsoft needs a plugin"),
        (graphs.matmul_nbits, "MatMulNBits of com.microsoft needs a plugin"),
        (graphs.non_zero, "NonZero is not in the table"),
        (graphs.unique, "Unique is not in the table"),
        (graphs.mixed_add, "has inconsistent type"),
        (graphs.float_attention, "no float32 kernel"),
        (graphs.shared_boolean_mask, "share the boolean mask"),
        (graphs.cache_not_an_output, "must be a graph output"),
    ],
)
def test_what_tensorrt_refuses(make, issue):
    found = lint(make(), "11.4")
    assert any(issue in line for line in found), found


def test_versions_of_operators_and_types():
    attention = small(
        [node("Attention", "q", "k", "v", out="y")],
        [value(name, HALF, [1, 4, 8, 64]) for name in "qkv"],
        [value("y", HALF, [1, 4, 8, 64])],
        opset=20,
    )
    assert any("Attention needs TensorRT 10.14" in issue for issue in lint(attention, "10.13"))
    bf16 = small(
        [node("Identity", "x", out="y")],
        [value("x", TensorProto.BFLOAT16, [4])],
        [value("y", TensorProto.BFLOAT16, [4])],
        opset=20,
    )
    assert lint(bf16, "8.6") == [
        "opset 20 is newer than its parser's 13",
        "bf16 needs TensorRT 9.0",
    ]


def test_what_nobody_reads_is_an_error():
    weight = numpy_helper.from_array(np.ones(4, np.float32), "spare")
    model = small(
        [node("Identity", "x", out="y"), node("Sqrt", "x", out="z")],
        [value("x", FLOAT, [4]), value("more", FLOAT, [4])],
        [value("y", FLOAT, [4])],
        weights=[weight],
        opset=20,
    )
    found = lint(model, "10.3")
    assert [issue for issue in found if "not used" in issue or "nothing reads" in issue] == [
        "the input more is not used",
        "the weight spare is not used",
        "nothing reads the Sqrt node Sqrt_z",
    ]


def test_the_error_names_graph_product_and_version():
    with pytest.raises(ExportError, match=r"^g for TensorRT-RTX 1\.7: .*\(and \d more\)$"):
        require_clean(graphs.non_zero(extra=True), "1.7", rtx=True)
    with pytest.raises(ExportError, match=r"^g for TensorRT 10\.3: "):
        require_clean(graphs.mixed_add(), "10.3")
