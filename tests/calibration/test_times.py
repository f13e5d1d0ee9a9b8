"""What a device needs for each matrix: the products of a real question, in graphs as exported."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra torch)")

from awares_edge.apps.cli import main
from awares_edge.bundle.store import Bundle
from awares_edge.calibration import products, times
from awares_edge.calibration.products import time_products, typical_ms
from awares_edge.calibration.times import ask_questions, measure_times, stored_formats
from awares_edge.errors import InputError
from awares_edge.export import export_checkpoint
from awares_edge.export.onnx.precisions import Formats
from awares_edge.export.times import MatrixTime, read_times, timed_shapes
from awares_edge.protocol.profiles import get_profile
from awares_edge.runtimes.onnx.text import TextGraph
from tests.support.checkpoints import make_checkpoint
from tests.support.times import made_up_times


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A small model's bundles, by precision."""
    folder = tmp_path_factory.mktemp("times")
    checkpoint = make_checkpoint(folder / "checkpoint", "untied")
    return {
        precision: export_checkpoint(
            checkpoint, folder / precision, precision=precision, profile=get_profile("paper")
        )
        for precision in ("fp32", "int8", "int4", "int8+int4")
    }


@pytest.fixture
def few(monkeypatch):
    """No more questions and products than needed."""
    monkeypatch.setattr(times, "QUESTIONS", 1)
    monkeypatch.setattr(products, "_LEAST_MS", 0.0)
    monkeypatch.setattr(products, "_LEAST_RUNS", 1)


def test_the_rows_of_a_question_are_those_that_the_graphs_compute(bundles, few, monkeypatch):
    calls = []
    append = TextGraph.append

    def recording(self, cache, piece):
        calls.append((piece.cells, piece.keep))
        return append(self, cache, piece)

    monkeypatch.setattr(TextGraph, "append", recording)
    bundle = bundles["int8"]
    ms, rows = ask_questions(bundle, 1, 1)
    assert ms > 0
    last = calls[-rows.tokens.total() :]
    assert rows.tokens == Counter(cells for cells, _ in last)
    assert rows.logits == Counter(keep for _, keep in last)
    # A view of 448 x 448 and two crops as large, four patches a token; 16 tokens of answer.
    assert (rows.patches, rows.image_tokens) == ({1024: 3}, {256: 3})
    assert rows.tokens[1] >= 16
    assert sum(count >= 256 for count in rows.tokens) == 2

    spec = bundle.manifest.model
    end = spec.layers - 1
    assert rows.of("visual.blocks.0.attn.qkv.weight", spec) is rows.patches
    assert rows.of("visual.merger.mlp.0.weight", spec) is rows.image_tokens
    assert rows.of("text.layers.0.mlp.down_proj.weight", spec) is rows.tokens
    assert rows.of(f"text.layers.{end}.self_attn.q_proj.weight", spec) is rows.tokens
    for name in (f"text.layers.{end}.self_attn.o_proj", f"text.layers.{end}.mlp.up_proj"):
        assert rows.of(f"{name}.weight", spec) is rows.logits
    for head in ("lm_head.weight", "text.embed_tokens.weight"):
        assert rows.of(head, spec) is rows.logits


def test_stored_formats_are_those_of_the_graphs(bundles):
    kinds = {name: stored_formats(bundles[name]) for name in ("fp32", "int8", "int4")}
    spec = bundles["int8"].manifest.model
    assert all(found.keys() == timed_shapes(spec).keys() for found in kinds.values())
    exception = f"visual.blocks.{spec.vision.depth - 1}.mlp.down_proj.weight"
    assert set(kinds["fp32"].values()) == {"fp16"}
    assert [name for name, kind in kinds["int8"].items() if kind != "int8"] == [exception]
    vision = {kind for name, kind in kinds["int4"].items() if name.startswith("visual.")}
    assert vision == {"int8", "fp16"}
    assert set(kinds["int4"].values()) == {"int8", "fp16", "int4"}


def test_a_bundle_that_cannot_be_taken_apart_is_refused(bundles):
    with pytest.raises(InputError, match="give a bundle of the same checkpoint at int8 or fp16"):
        measure_times(bundles["int8+int4"], threads=1)
    other = replace(bundles["int8"].manifest, runtime="llamacpp")
    with pytest.raises(InputError, match="is a bundle for the runtime llamacpp: export"):
        measure_times(Bundle(bundles["int8"].root, other), threads=1)


@pytest.mark.parametrize(
    ("kind", "operator"),
    [("fp16", "Gemm"), ("int8", "DynamicQuantizeMatMul"), ("int4", "MatMulNBits")],
)
def test_products_run_in_the_operators_of_an_export(tmp_path, kind, operator):
    format = Formats("mixed", depth=1).options("", (48, 64))[kind]
    path = products._write_graph(tmp_path, format, (48, 64), True, 3)
    model = onnx.load(path, load_external_data=False)
    counts = Counter(node.op_type for node in model.graph.node)
    assert (counts[operator], counts["Shape"]) == (3, 3)
    # Three matrices, no two with the same bytes: onnxruntime would keep those once.
    onnx.load_external_data_for_model(model, str(tmp_path))
    assert all("bias" in node.input for node in model.graph.node if node.op_type == operator)
    weights = {tensor.name: tensor.raw_data for tensor in model.graph.initializer}
    suffix = next(iter(format.tensors((48, 64))))
    assert len({weights[f"{copy}{suffix}"] for copy in range(3)}) == 3
    session = products.open_graph(path, products.Device("cpu"), 1)
    x = np.ones((5, 64), dtype=np.float32)
    assert session.run(None, {"x": x})[0].tolist() == [5, 48] * 3


def test_a_product_is_measured_among_as_many_weights_as_the_model_has(monkeypatch, few):
    made = []
    write = products._write_graph

    def recording(folder, format, shape, bias, copies):
        made.append(copies)
        return write(folder, format, shape, bias, copies)

    monkeypatch.setattr(products, "_write_graph", recording)
    format = Formats("mixed", depth=1).options("", (64, 64))["fp16"]
    found = time_products(format, (64, 64), [1, 7], bias=False, numbers=10 * 64 * 64, threads=1)
    assert found.keys() == {1, 7}
    assert min(found.values()) > 0
    time_products(format, (64, 64), [1], bias=False, numbers=1, threads=1)
    # fp32 in memory: as many as fit into the limit.
    monkeypatch.setattr(products, "_MOST_BYTES", 3 * 4 * 64 * 64)
    time_products(format, (64, 64), [1], bias=False, numbers=10 * 64 * 64, threads=1)
    assert made == [10, 1, 3]


def test_one_thread_counts_its_own_time(monkeypatch):
    """Medians of what the clock shows; the first run does not count."""
    for threads, name in ((1, "process_time"), (2, "perf_counter")):
        clock = iter(np.cumsum([0, 0.9, 0, 0.1, 0, 0.2]))
        monkeypatch.setattr(products.time, name, lambda clock=clock: next(clock))
        runs = []
        assert typical_ms(lambda runs=runs: runs.append(1), threads) == pytest.approx(200)
        assert len(runs) == 4
        monkeypatch.undo()


def test_the_question_that_was_measured_is_estimated_exactly(bundles, few, tmp_path):
    bundle, done = bundles["int8"], []
    found = measure_times(bundle, threads=1, progress=lambda *step: done.append(step))
    assert found.estimate(stored_formats(bundle)) == pytest.approx(found.question_ms)
    assert done[-1][0] == done[-1][1] > 3
    assert all(min(m.fp16, m.int8, m.int4) > 0 for m in found.matrices.values())
    # Equal matrices of one tower are measured once; the last layer's compute fewer tokens.
    layers = [found.matrices[f"text.layers.{i}.mlp.gate_proj.weight"] for i in range(2)]
    assert found.matrices["text.layers.0.mlp.up_proj.weight"] == layers[0] != layers[1]
    found.save(tmp_path / "times.json")
    assert read_times(tmp_path / "times.json", bundle.manifest.model) == found


def test_a_disturbed_measurement_is_not_kept(bundles, few, monkeypatch):
    def slow(format, shape, rows, **how):
        return dict.fromkeys(rows, 1e6)

    monkeypatch.setattr(times, "time_products", slow)
    with pytest.raises(InputError, match="other programs disturbed the measurement"):
        measure_times(bundles["int8"], threads=1)


def test_the_command(bundles, tmp_path, capsys, monkeypatch):
    spec = bundles["int8"].manifest.model
    made = made_up_times(spec)
    monkeypatch.setattr(times, "measure_times", lambda bundle, threads, progress: made)
    file = tmp_path / "times.json"
    command = ["calibrate", "times", str(bundles["int8"].root), "-o", str(file)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"{file}: {len(made.matrices)} matrices on made up, threads: 2" in printed
    assert "a two-turn question takes 200.0 ms at int8" in printed
    assert read_times(file, spec) == made
    assert main([*command, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["rest_ms"] == 100
    estimates = shown["estimates"]
    assert estimates["fastest mix"] < estimates["int8"] < estimates["int4"] < estimates["fp16"]


def test_what_cannot_be_measured_is_one_line(bundles, tmp_path, capsys):
    file = tmp_path / "times.json"
    for bundle, message in (
        (bundles["int8+int4"].root, "give a bundle of the same checkpoint at int8 or fp16"),
        (tmp_path / "missing", "no such bundle"),
    ):
        assert main(["calibrate", "times", str(bundle), "-o", str(file)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not file.exists()


def test_the_fastest_format():
    assert MatrixTime((1, 1), fp16=3.0, int8=2.0, int4=1.0).fastest == "int4"
    assert MatrixTime((1, 1), fp16=3.0, int8=1.0, int4=1.0).fastest == "int8"
    assert MatrixTime((1, 1), fp16=3.0, int8=1.0, int4=2.0).ms("fp32") == 3.0
