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
from tests.support.measured import flat_measured
from tests.support.tensorrt_graphs import HALF, node, small, value

FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    pytest.importorskip("torch")
    from tests.support.checkpoints import make_checkpoint

    return Checkpoint.open(make_checkpoint(tmp_path_factory.mktemp("lint") / "model", "tied"))


@pytest.mark.parametrize("precision", NUMBER_FORMATS)
def test_our_graphs_pass(source, tmp_path, precision):
    from tests.support.tensorrt_cpu import write_bundle

    bundle = write_bundle(tmp_path / "bundle", source, precision, flat_measured(source))
    for name in ("text", "vision"):
        path = bundle.path(f"{name}.onnx")
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(path, load_external_data=False)
        assert lint(model) == []
        opset = 21 if precision == "int4" and name == "text" else 20
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]


def test_interfaces(source, tmp_path):
    from tests.support.tensorrt_cpu import write_bundle

    bundle = write_bundle(tmp_path / "bundle", source, "fp16")
    model = onnx.load(bundle.path("text.onnx"), load_external_data=False)
    places = {f"{i}.{part}" for i in range(source.spec.layers) for part in ("key", "value")}
    assert {value.name for value in model.graph.input} == {
        *("inputs_embeds", "position_ids", "logits_index", "attention_mask"),
        *(f"past_key_values.{place}" for place in places),
    }
    assert {value.name for value in model.graph.output} == {
        "logits",
        *(f"new.{place}" for place in places),
    }


@pytest.mark.parametrize(
    ("make", "issue"),
    [
        (graphs.attention_with_lengths, "Attention is not in the table"),
        (graphs.attention_with_lengths, "opset 24 is newer than 20"),
        (graphs.group_query_attention, "GroupQueryAttention of com.microsoft needs a plugin"),
        (graphs.matmul_nbits, "MatMulNBits of com.microsoft needs a plugin"),
        (graphs.non_zero, "NonZero is not in the table"),
        (graphs.unique, "Unique is not in the table"),
        (graphs.mixed_add, "has inconsistent type"),
    ],
)
def test_what_tensorrt_refuses(make, issue):
    found = lint(make())
    assert any(issue in line for line in found), found


def test_opset_21_is_for_int4():
    model = small(
        [node("Identity", "x", out="y")],
        [value("x", HALF, [4])],
        [value("y", HALF, [4])],
        opset=21,
    )
    assert lint(model) == ["opset 21 is newer than 20, the parser's newest"]


def test_what_nobody_reads_is_an_error():
    weight = numpy_helper.from_array(np.ones(4, np.float32), "spare")
    model = small(
        [node("Identity", "x", out="y"), node("Sqrt", "x", out="z")],
        [value("x", FLOAT, [4]), value("more", FLOAT, [4])],
        [value("y", FLOAT, [4])],
        weights=[weight],
        opset=20,
    )
    found = lint(model)
    assert [issue for issue in found if "not used" in issue or "nothing reads" in issue] == [
        "the input more is not used",
        "the weight spare is not used",
        "nothing reads the Sqrt node Sqrt_z",
    ]


def test_the_error_names_the_graph_and_the_first_reason():
    with pytest.raises(ExportError, match=r"^TensorRT cannot build g: .*\(and \d more\)$"):
        require_clean(graphs.non_zero(extra=True))
    with pytest.raises(ExportError, match=r"^TensorRT cannot build g: .*inconsistent type"):
        require_clean(graphs.mixed_add())
