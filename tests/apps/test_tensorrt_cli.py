"""`export --format tensorrt` and `build-engine` from the command line."""

import importlib.util
import json

import pytest

from awares_edge.apps.cli import main

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.support.checkpoints import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("cli") / "model", "tied")


@pytest.fixture
def export(checkpoint, tmp_path):
    def export(*arguments, format="tensorrt"):
        out = str(tmp_path / "bundle")
        return main(["export", str(checkpoint), "-o", out, "--format", format, *arguments])

    return export


def test_a_bundle_with_a_plan(export, tmp_path, capsys):
    assert export("--target", "orin-nano", "--cache-length", "512", "--json") == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "fp16"
    plan = json.loads((tmp_path / "bundle" / "tensorrt-plan.json").read_text())
    assert (plan["target"], plan["cache_length"]) == ("orin-nano", 512)
    assert main(["inspect", str(tmp_path / "bundle"), "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["runtime"], manifest["precision"]) == ("tensorrt", "fp16")
    assert manifest["protocol"]["max_pixels"] == 1024 * 28 * 28
    assert set(manifest["files"]) == {
        *("embedding.npy", "tensorrt-plan.json", "tokenizer.json"),
        *("text.onnx", "text.data", "vision.onnx", "vision.data"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the target device: one of orin-nano"),
        (["--target", "orin"], "no target 'orin': choose one of orin-nano"),
        (["--target", "rtx20", "--precision", "int4"], "does not take int4"),
        (["--target", "h100", "--precision", "q4"], "no precision 'q4' for tensorrt"),
        (["--target", "orin-nano", "--precision", "fp8"], "(SM 8.7) does not take fp8"),
        (["--target", "h100", "--precision", "fp8"], "needs a calibration file"),
        (
            ["--target", "h100", "--precision", "fp8", "--calibration", "none"],
            "no such calibration file: none",
        ),
        (["--target", "h100", "--cache-length", "1"], "between 64 and 1048576 cells, not 1"),
        (["--target", "h100", "--memory", "nan"], "memory must be between 1 and 4096 GiB, not nan"),
        (
            ["--target", "h100", "--calibration", "none"],
            "a calibration file is not used at fp16: leave it out",
        ),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(export, tmp_path, capsys, arguments, message):
    assert export(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "format", "message"),
    [
        (["--target", "h100"], "onnx", "--target is for --format tensorrt, not for onnx"),
        (
            ["--target", "h100", "--memory", "8"],
            "gguf",
            "--target, --memory are for --format tensorrt, not for gguf: leave them out",
        ),
        (["--block", "32"], "tensorrt", "--block is for --format onnx"),
    ],
)
def test_an_option_of_another_format_is_refused(export, capsys, arguments, format, message):
    assert export(*arguments, format=format) == 2
    assert message in capsys.readouterr().err


def test_build_engine_refuses_other_bundles(checkpoint, tmp_path, capsys):
    out = str(tmp_path / "onnx")
    assert main(["export", str(checkpoint), "-o", out]) == 0
    assert main(["build-engine", out]) == 2
    assert "is a bundle for onnx: export the checkpoint with --format tensorrt" in (
        capsys.readouterr().err
    )


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here"
)
def test_what_is_missing_is_named(export, tmp_path, capsys):
    export("--target", "orin-nano")
    assert main(["build-engine", str(tmp_path / "bundle")]) == 2
    assert "tensorrt is not installed: pip install 'awares-edge[tensorrt]'" in (
        capsys.readouterr().err
    )
    assert main(["build-engine", str(tmp_path / "bundle"), "--ahead-for", "8.7"]) == 2
    capsys.readouterr()
    assert main(["build-engine", str(tmp_path / "bundle"), "--ahead-for", "x"]) == 2
    assert "no compute capability 'x'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)
def test_ahead_of_time(export, tmp_path, capsys):
    assert export("--target", "rtx40") == 0
    capsys.readouterr()
    command = ["build-engine", str(tmp_path / "bundle"), "--engines", str(tmp_path / "engines")]
    for built in (True, False):
        assert main([*command, "--ahead-for", "sm_89", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["built"], result["capability"]) == (built, 89)
    assert main([*command, "--ahead-for", "86"]) == 2
    assert "this bundle is for rtx40 (SM 8.9)" in capsys.readouterr().err
