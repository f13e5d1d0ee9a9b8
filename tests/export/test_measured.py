"""Calibration files: read back as written, and refused wherever they do not belong."""

import json
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch makes the tiny checkpoints (extra torch)")

from safetensors.numpy import load_file, save_file

from awares_edge.apps.cli import main
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.fingerprint import fingerprint
from awares_edge.checkpoint.lora import Adapter
from awares_edge.errors import ExportError
from awares_edge.export import OnnxFormat, export_checkpoint
from awares_edge.export.hessians import Hessian, upper_triangle
from awares_edge.export.measured import Inputs, read_measured
from awares_edge.protocol.profiles import get_profile
from tests.support.checkpoints import make_checkpoint
from tests.support.measured import flat_measured

LAYER = "text.layers.1.mlp.down_proj"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("measured") / "model", "untied", seed=3)


@pytest.fixture(scope="module")
def source(checkpoint):
    return Checkpoint.open(checkpoint)


@pytest.fixture
def file(source, tmp_path):
    path = tmp_path / "m.safetensors"
    flat_measured(source).save(path)
    return path


def header(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + length])["__metadata__"]


def change(path, tensors=None, **metadata):
    """Write a file again with other tensors or metadata; None removes an entry."""
    found, described = load_file(path), {**header(path), **metadata}
    for name, values in (tensors or {}).items():
        found[name] = values
    save_file(
        {k: v for k, v in found.items() if v is not None},
        path,
        {k: v for k, v in described.items() if v is not None},
    )


def test_a_file_is_read_as_it_was_written(source, file):
    written, read = flat_measured(source), read_measured(file, source.spec)
    assert read.origin == written.origin
    assert read.inputs.keys() == written.inputs.keys()
    assert all(
        np.array_equal(getattr(read.inputs[name], part), getattr(inputs, part))
        for name, inputs in written.inputs.items()
        for part in ("largest", "mean", "square", "histogram")
    )
    assert read.inputs[LAYER].range == 4.0


def test_inputs_that_several_matrices_read_are_counted_once(source, file):
    stored = {name for name in load_file(file) if name.endswith(".histogram")}
    assert "text.layers.0.self_attn.q_proj.histogram" in stored
    others = ("k_proj", "v_proj", "up_proj")
    assert not [name for name in stored if name.removesuffix(".histogram").endswith(others)]
    inputs = read_measured(file, source.spec).inputs
    for owner, other in (("self_attn.q", "self_attn.v"), ("mlp.gate", "mlp.up")):
        one, two = (inputs[f"text.layers.0.{part}_proj"].histogram for part in (owner, other))
        assert np.array_equal(one, two)


def test_an_older_file_without_histograms_is_read(source, file):
    names = [name for name in load_file(file) if name.endswith(".histogram")]
    change(file, dict.fromkeys(names))
    assert all(one.histogram is None for one in read_measured(file, source.spec).inputs.values())


def with_hessians(measured, matrices):
    """A measurement with Hessians [n, n] by layer."""
    triangles = {name: upper_triangle(matrix) for name, matrix in matrices.items()}
    hessians = {
        name: Hessian(name, len(matrices[name]), lambda kept=triangle: kept)
        for name, triangle in triangles.items()
    }
    return replace(measured, hessians=hessians)


def test_hessians_are_read_as_they_were_written(source, tmp_path):
    """Those of some layers, as a limit leaves them; the square is that of `flat_measured`."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, source.spec.intermediate_size))
    rows *= (4 / 3) / np.sqrt((rows**2).mean(axis=0))
    matrix = rows.T @ rows / len(rows)
    path = tmp_path / "m.safetensors"
    with_hessians(flat_measured(source), {LAYER: matrix}).save(path)
    read = read_measured(path, source.spec)
    assert read.hessians.keys() == {LAYER}
    np.testing.assert_allclose(read.hessians[LAYER].matrix(), matrix, rtol=1e-6)
    assert np.array_equal(read.inputs[LAYER].square, flat_measured(source).inputs[LAYER].square)


class TestRefused:
    @pytest.mark.parametrize(
        ("change_of", "message"),
        [
            ({(0, 1): np.nan}, "cannot be read or is not finite: measure it again"),
            ({(5, 5): np.inf}, "cannot be read or is not finite"),
            ({(5, 5): 1.0}, "contradicts its mean squares: measure it again"),
            ({(0, 0): -1.0}, "contradicts its mean squares"),
        ],
        ids=str,
    )
    def test_hessians_that_no_measurement_gives(self, source, tmp_path, change_of, message):
        matrix = np.eye(source.spec.intermediate_size) * (4 / 3) ** 2
        for place, value in change_of.items():
            matrix[place] = value
        path = tmp_path / "m.safetensors"
        with_hessians(flat_measured(source), {LAYER: matrix}).save(path)
        read = read_measured(path, source.spec)
        with pytest.raises(ExportError, match=message) as refusal:
            read.hessians[LAYER].matrix()
        assert LAYER in str(refusal.value)

    @pytest.mark.parametrize(
        ("name", "count"),
        [
            (LAYER, 96),
            (LAYER, 96 * 97 // 2 + 1),
            ("text.layers.0.self_attn.k_proj", 64 * 65 // 2),
            ("text.layers.9.mlp.down_proj", 96 * 97 // 2),
        ],
    )
    def test_hessians_of_another_shape(self, source, file, name, count):
        change(file, {f"{name}.hessian": np.ones(count, dtype=np.float32)})
        with pytest.raises(ExportError, match="was measured on another model"):
            read_measured(file, source.spec)

    @pytest.mark.parametrize("raw", [b"", b"GGUF" + bytes(60), b"\xff" * 100, b"{}"])
    def test_other_files(self, source, tmp_path, raw):
        path = tmp_path / "m"
        path.write_bytes(raw)
        with pytest.raises(ExportError, match="is not a file of `awares-edge calibrate weights`"):
            read_measured(path, source.spec)

    def test_what_is_not_there(self, source, tmp_path):
        with pytest.raises(ExportError, match="no such calibration file"):
            read_measured(tmp_path / "none", source.spec)
        with pytest.raises(ExportError, match="no such calibration file"):
            read_measured(tmp_path, source.spec)

    @pytest.mark.parametrize(
        "metadata",
        [
            {"format": None},
            {"format": "pt"},
            {"version": "2"},
            {"checkpoint": "A" * 64},
            {"checkpoint": None},
            {"questions": "7"},
            {"questions": "-1"},
            {"questions": "9" * 5000},
            {"questions": "²"},
            {"zoomed": "many"},
            {"extra": "field"},
            {"dataset": "x" * 1000},
        ],
        ids=str,
    )
    def test_another_origin(self, source, file, metadata):
        change(file, **metadata)
        with pytest.raises(ExportError, match="is not a file of `awares-edge calibrate weights`"):
            read_measured(file, source.spec)

    @pytest.mark.parametrize(
        ("part", "value", "message"),
        [
            ("largest", np.nan, r"must be finite: measure them again"),
            ("mean", np.inf, r"must be finite"),
            ("square", -1.0, r"must be above 0"),
            ("largest", 0.0, r"must be above 0"),
            ("mean", 5.0, r"contradict each other"),
            ("square", 17.0, r"contradict each other"),
        ],
    )
    def test_numbers_that_no_measurement_gives(self, source, file, part, value, message):
        values = np.full(source.spec.intermediate_size, value, dtype=np.float32)
        change(file, {f"{LAYER}.{part}": values})
        with pytest.raises(ExportError, match=message) as refusal:
            read_measured(file, source.spec)
        assert LAYER in str(refusal.value)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.nan, "must be finite: measure it again"),
            (-0.5, "must not be negative"),
            (0.0, "contradict each other"),
            (1.0, "contradict each other"),  # also above the largest magnitude
        ],
    )
    def test_histograms_that_no_measurement_gives(self, source, file, value, message):
        name = f"{LAYER}.histogram"
        change(file, {name: np.full_like(load_file(file)[name], value)})
        with pytest.raises(ExportError, match=message) as refusal:
            read_measured(file, source.spec)
        assert LAYER in str(refusal.value)

    def test_a_file_that_lost_a_histogram(self, source, file):
        change(file, {f"{LAYER}.histogram": None})
        with pytest.raises(ExportError, match="was measured on another model"):
            read_measured(file, source.spec)

    @pytest.mark.parametrize("values", [None, np.ones(3, dtype=np.float32)])
    def test_a_model_of_another_shape(self, source, file, values):
        change(file, {f"{LAYER}.mean": values})
        with pytest.raises(ExportError, match="was measured on another model"):
            read_measured(file, source.spec)

    @pytest.mark.parametrize("cut", [1, 100, 4000])
    def test_a_truncated_file(self, source, file, cut):
        file.write_bytes(file.read_bytes()[:-cut])
        with pytest.raises(ExportError, match="is not a file of"):
            read_measured(file, source.spec)

    def test_a_checkpoint_with_other_weights(self, file, checkpoint, tmp_path, capsys):
        """The same shape, one number different: nothing is written."""
        other = shutil.copytree(checkpoint, tmp_path / "other")
        weights = other / "model.safetensors"
        raw = bytearray(weights.read_bytes())
        raw[-3] ^= 1
        weights.write_bytes(raw)
        out = tmp_path / "bundle"
        arguments = ["export", str(other), "-o", str(out), "--precision", "int8"]
        assert main([*arguments, "--calibration", str(file)]) == 2
        error = capsys.readouterr().err
        assert "was measured on other weights: measure it on this checkpoint" in error
        assert error.count("\n") == 1
        assert not out.exists()

    def test_an_adapter_that_was_not_measured(self, checkpoint, source, file, tmp_path):
        """The file belongs to the checkpoint and the adapter together."""
        root = tmp_path / "adapter"
        root.mkdir()
        at = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
        halves = {"A": np.ones((2, 64), np.float32), "B": np.ones((64, 2), np.float32)}
        save_file(
            {f"{at}.lora_{half}.weight": values for half, values in halves.items()},
            root / "adapter_model.safetensors",
        )
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "bias": "none"}
        (root / "adapter_config.json").write_text(json.dumps(config))

        def export(name):
            export_checkpoint(
                checkpoint,
                tmp_path / name,
                format=OnnxFormat("int8", calibration=file),
                adapter=root,
                profile=get_profile("paper"),
            )

        with pytest.raises(ExportError, match="measured on other weights"):
            export("refused")
        assert not (tmp_path / "refused").exists()
        merged = fingerprint(source, Adapter.open(root, source))
        change(file, checkpoint=merged)
        export("exported")

    def test_precisions_that_have_no_use_for_it(self, file):
        for precision in ("fp32", "fp16"):
            with pytest.raises(ExportError, match=f"not used at {precision}: leave it out"):
                OnnxFormat(precision, calibration=file)


class TestFingerprint:
    def test_how_a_checkpoint_is_stored_does_not_matter(self, source, tmp_path):
        cut = make_checkpoint(tmp_path / "v4", "untied", seed=3, layout="v4", shards=3)
        assert fingerprint(Checkpoint.open(cut)) == fingerprint(source)

    def test_its_numbers_do(self, source, tmp_path):
        other = make_checkpoint(tmp_path / "other", "untied", seed=4)
        half = make_checkpoint(tmp_path / "half", "untied", seed=3, dtype="bfloat16")
        hashes = {fingerprint(Checkpoint.open(path)) for path in (other, half)}
        assert len(hashes | {fingerprint(source)}) == 3

    def test_so_does_its_shape(self, source):
        spec = replace(source.spec, rope_theta=5000.0)
        other = Checkpoint(source.root, spec, source._tensors)
        assert fingerprint(other) != fingerprint(source)


def test_the_bundle_names_its_calibration(checkpoint, source, file, tmp_path):
    bundle = export_checkpoint(
        checkpoint,
        tmp_path / "b",
        format=OnnxFormat("int8", calibration=file),
        profile=get_profile("paper"),
    )
    assert bundle.manifest.provenance["calibrated_on"] == "24 questions, made up"
    assert "kept_in_float" not in bundle.manifest.provenance
    assert isinstance(flat_measured(source).inputs[LAYER], Inputs)
