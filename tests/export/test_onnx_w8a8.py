"""ONNX w8a8: standard QDQ over measured ranges, which onnxruntime computes in int8."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

pytest.importorskip("torch")

from awares_edge.apps.cli import main
from awares_edge.calibration.observe import hooks
from awares_edge.calibration.weights import Statistics
from awares_edge.checkpoint import Checkpoint
from awares_edge.checkpoint.fingerprint import fingerprint
from awares_edge.export import OnnxFormat, export_checkpoint
from awares_edge.export.measured import Measured, Origin, measured_layers, read_measured
from awares_edge.protocol.profiles import get_profile
from awares_edge.runtimes.base import TextSegment
from awares_edge.runtimes.onnx import OnnxRuntime
from awares_edge.runtimes.torch_reference import TorchRuntime
from tests.export.test_onnx_export import FUSED, STANDARD, check_order, operators
from tests.export.test_onnx_precisions import conversation, converse
from tests.support.checkpoints import make_checkpoint
from tests.support.outliers import plant_outliers

GRAPHS = ("vision", "text")


@pytest.fixture(scope="module", params=["untied", "tied"])
def checkpoint(request, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("source") / "model", request.param)


def measure(checkpoint, path):
    """A calibration file whose ranges cover exactly what these tests compute: random weights would
    otherwise clip much of what they were not measured on."""
    source, statistics = Checkpoint.open(checkpoint), Statistics()
    with TorchRuntime.load(checkpoint) as runtime, hooks(runtime.model, statistics.add):
        converse(runtime)
        with runtime.open_session() as session:
            session.prefill([TextSegment(tuple(range(20, 40)))])
    origin = Origin(fingerprint(source), "random", "one conversation", 8, 4)
    names = measured_layers(source.spec)
    Measured(origin, {name: statistics.inputs(name) for name in names}).save(path)
    return path


@pytest.fixture(scope="module")
def file(checkpoint, tmp_path_factory):
    return measure(checkpoint, tmp_path_factory.mktemp("file") / "measured.safetensors")


@pytest.fixture(scope="module")
def export(checkpoint, file, tmp_path_factory):
    made = {}

    def export(precision="w8a8", **options):
        key = (precision, *options.items())
        if key not in made:
            calibration = None if precision == "fp32" else file
            made[key] = export_checkpoint(
                checkpoint,
                tmp_path_factory.mktemp("bundle") / "b",
                format=OnnxFormat(precision, calibration=calibration, **options),
                profile=get_profile("paper"),
            )
        return made[key]

    return export


def graph_of(bundle, name):
    return onnx.load(bundle.path(f"{name}.onnx")).graph


def quantized_products(graph):
    """(node, DequantizeLinear of its input, of its weight) of each Gemm with an int8 weight."""
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        parts = [makers.get(name) for name in node.input[:2]] if node.op_type == "Gemm" else []
        if len(parts) == 2 and parts[1] is not None and parts[1].op_type == "DequantizeLinear":
            yield node, *parts


def constants(graph):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


@pytest.mark.parametrize("name", GRAPHS)
class TestGraphs:
    def test_other_tools_accept_them(self, export, name):
        path = export().path(f"{name}.onnx")
        onnx.checker.check_model(str(path), full_check=True)
        graph = onnx.load(path, load_external_data=False).graph
        used = check_order(graph, {"", *(value.name for value in graph.input)})
        assert {value.name for value in graph.initializer} <= used
        assert operators(graph) - STANDARD <= FUSED

    def test_every_product_has_int8_inputs_and_weights(self, export, name):
        graph = graph_of(export(), name)
        values = constants(graph)
        makers = {output: node for node in graph.node for output in node.output}
        products = list(quantized_products(graph))
        spec = export().manifest.model
        # In fp16 stays the last down_proj of the vision tower, and nothing else.
        expected = 5 * spec.vision.depth + 2 if name == "vision" else 5 * spec.layers + 1
        assert len(products) == expected
        for node, inputs, weight in products:
            assert len(node.input) == 2
            quantize = makers[inputs.input[0]]
            assert quantize.op_type == "QuantizeLinear"
            assert list(quantize.input[1:]) == list(inputs.input[1:])
            step, zero = (values[entry] for entry in inputs.input[1:])
            assert (step.dtype, step.shape, zero.dtype, zero) == (np.float32, (), np.uint8, 128)
            matrix, scales, zeros = (values[entry] for entry in weight.input)
            assert (matrix.dtype, scales.dtype, zeros.dtype) == (np.int8, np.float32, np.int8)
            assert scales.shape == zeros.shape == matrix.shape[1:]
            assert not zeros.any()
            assert np.abs(matrix.astype(int)).max(axis=0).min() == 127

    @pytest.mark.parametrize("cpu", ["VNNI", "older"])
    def test_onnxruntime_computes_them_in_int8(self, export, name, cpu, tmp_path):
        """What docs/onnx.md says about onnxruntime's operators. For a CPU without VNNI the runtime
        has the weights converted to uint8."""
        bundle, options = export(), ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 3
        key = "session.optimized_model_external_initializers_file_name"
        options.add_session_config_entry(key, "optimized.data")
        options.add_session_config_entry("session.x64quantprecision", "01"[cpu == "older"])
        path = str(bundle.path(f"{name}.onnx"))
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(tmp_path / "optimized.onnx").graph
        kinds = [node.op_type for node in optimized.node]
        products = list(quantized_products(graph_of(bundle, name)))
        assert kinds.count("QGemm") == len(products)
        assert "DequantizeLinear" not in kinds
        # Gate and up read one quantized input.
        spec = bundle.manifest.model
        blocks = spec.vision.depth if name == "vision" else spec.layers
        assert kinds.count("QuantizeLinear") == len(products) - blocks
        values = constants(optimized)
        types = {
            (values[node.input[2]].dtype, values[node.input[3]].dtype)
            for node in optimized.node
            if node.op_type == "QGemm"
        }
        assert types == {(np.dtype(np.uint8), np.dtype(np.uint8 if cpu == "older" else np.int8))}


def input_steps(bundle, name):
    """The step of each quantized input, by the name of the weight."""
    graph = graph_of(bundle, name)
    values = constants(graph)
    return {
        weight.input[0].split(".weight")[0]: float(values[inputs.input[1]])
        for _, inputs, weight in quantized_products(graph)
    }


def test_inputs_reach_exactly_what_was_measured(export, checkpoint, file):
    """Smoothing divides them by powers of two first."""
    inputs = read_measured(file, Checkpoint.open(checkpoint).spec).inputs
    steps = {**input_steps(export(), "vision"), **input_steps(export(), "text")}
    white = max((1 - 0.40821073) / 0.27577711, (1 - 0.48145466) / 0.26862954)
    assert steps.pop("visual.patch_embed.proj") == pytest.approx(white / 127)
    for name, step in steps.items():
        # Some channel's largest input, divided by a power of two, is the last step.
        fractions, _ = np.frexp(inputs[name].largest)
        assert np.isclose(fractions, np.frexp(127 * step)[0], rtol=1e-6).any(), name


@pytest.mark.parametrize("ranges", ["percentile", "entropy"])
def test_other_ranges_are_smaller(export, ranges):
    widest, clipped = (input_steps(export(**way), "text") for way in ({}, {"ranges": ranges}))
    assert widest.keys() == clipped.keys()
    assert all(clipped[name] <= step for name, step in widest.items())
    assert any(clipped[name] < 0.99 * step for name, step in widest.items())


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "entropy"])
def test_it_computes_nearly_the_same(export, ranges):
    exact, ours = conversation(export("fp32")), conversation(export(ranges=ranges))
    error = np.linalg.norm(ours - exact) / np.linalg.norm(exact)
    assert 0 < error < 0.1


def test_tokens_do_not_depend_on_those_beside_them(export):
    """Unlike at int8: ranges are the same for every call, so a prompt may be cut anywhere. Float
    noise before a rounding may move it by a step."""
    with OnnxRuntime.load(export(), threads=1) as runtime, runtime.open_session() as session:
        start = session.mark()
        once = session.prefill([TextSegment(tuple(range(20, 40)))])
        session.rewind(start)
        session.prefill([TextSegment(tuple(range(20, 31)))])
        cut = session.prefill([TextSegment(tuple(range(31, 40)))])
    assert np.abs(cut - once).max() < 0.01 * once.std()


def test_outliers_are_smoothed_before_ranges_are_fixed(tmp_path, checkpoint, export):
    planted = plant_outliers(checkpoint, tmp_path / "planted")
    file = measure(planted, tmp_path / "measured.safetensors")

    def drift_of(bundle):
        exact = conversation(export("fp32"))  # planting changes nothing in fp32
        return np.linalg.norm(conversation(bundle) - exact) / np.linalg.norm(exact)

    bundle = export_checkpoint(
        planted,
        tmp_path / "bundle",
        format=OnnxFormat("w8a8", calibration=file),
        profile=get_profile("paper"),
    )
    assert drift_of(bundle) < 2 * drift_of(export())


def test_seven_bit_weights_stay_within_64(export):
    bundle = export(seven_bit=True)
    for name in GRAPHS:
        for value in constants(graph_of(bundle, name)).values():
            if value.dtype == np.int8 and value.ndim == 2:
                assert np.abs(value.astype(int)).max() == 64
    exact = conversation(export("fp32"))
    assert np.linalg.norm(conversation(bundle) - exact) < 0.15 * np.linalg.norm(exact)


def test_layers_may_be_kept(export):
    head = "text.embed_tokens" if export().manifest.model.tied else "lm_head"
    kept = export(keep=("text.layers.0.mlp.*=fp16", f"{head}=int8"))
    missing = input_steps(export(), "text").keys() - input_steps(kept, "text").keys()
    assert missing == {head, *(f"text.layers.0.mlp.{part}_proj" for part in ("gate", "up", "down"))}


def test_inspect_shows_precision_and_ranges(export, capsys):
    bundle = export(ranges="percentile")
    assert main(["inspect", str(bundle.root)]) == 0
    printed = capsys.readouterr().out
    assert "onnx, w8a8" in printed
    assert "ranges" in printed
    assert "percentile" in printed
    assert export().manifest.provenance["ranges"] == "minmax"
    assert "ranges" not in export("int8").manifest.provenance


class TestRefused:
    def refusal(self, capsys, out, *arguments):
        assert main([*map(str, arguments), "-o", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert not out.exists()
        return error

    def test_without_a_calibration(self, checkpoint, tmp_path, capsys):
        error = self.refusal(capsys, tmp_path / "b", "export", checkpoint, "--precision", "w8a8")
        assert "w8a8 needs a calibration file" in error

    @pytest.mark.parametrize("ranges", ["percentile", "entropy"])
    def test_ranges_that_an_older_file_cannot_give(
        self, checkpoint, file, tmp_path, capsys, ranges
    ):
        measured = read_measured(file, Checkpoint.open(checkpoint).spec)
        inputs = {name: replace(one, histogram=None) for name, one in measured.inputs.items()}
        old = tmp_path / "old"
        replace(measured, inputs=inputs).save(old)
        export = ("export", checkpoint, "--precision", "w8a8", "--calibration", old)
        error = self.refusal(capsys, tmp_path / "b", *export, "--ranges", ranges)
        assert f"the calibration file holds no histograms, which {ranges} ranges need" in error
        assert main([*map(str, export), "-o", str(tmp_path / "b"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["precision"] == "w8a8"

    def test_ranges_where_inputs_stay_float(self, checkpoint, tmp_path, capsys):
        export = ("export", checkpoint, "--precision", "int8", "--ranges", "entropy")
        assert "ranges are not used at int8" in self.refusal(capsys, tmp_path / "b", *export)
