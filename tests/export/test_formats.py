"""Export formats: settings with their limits in one place, and what makes use of them."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import pytest
import typer
from typer.testing import CliRunner

from awares_edge.apps import format_options
from awares_edge.apps.cli import main
from awares_edge.bundle import Bundle
from awares_edge.errors import ExportError, InputError, RuntimeUnavailable
from awares_edge.export import (
    FORMATS,
    ExportFormat,
    GgufFormat,
    OnnxFormat,
    TensorrtFormat,
    export_checkpoint,
)
from awares_edge.export.base import Help
from awares_edge.export.registry import FormatName, make_format
from awares_edge.protocol import PROFILES
from awares_edge.runtimes.registry import RUNTIMES

NANO = Path(__file__).parents[2] / "checkpoints" / "nano"


@dataclass(frozen=True)
class ListFormat(ExportFormat):
    """A format of somebody's own: a list of the tensors' names."""

    name: ClassVar[str] = "list"
    runtime: ClassVar[str] = "null"
    needs: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    precision: Literal["upper", "lower"] = "lower"
    count: Annotated[int, Help("Names to write.", 1, 100, "names")] = 2
    width: Annotated[Literal[40, 80], Help("Columns of a line.")] = 80
    order: Annotated[Literal["up", "down"] | None, Help("How names are sorted.")] = None
    skip: Annotated[tuple[str, ...], Help("Names to leave out; may be repeated.")] = ()
    dense: Annotated[bool, Help("No empty lines.")] = False

    def limit(self, profile, spec):
        return replace(profile, max_pixels=spec.vision.patch_size**2 * 256)

    def write(self, source, weights, measured, writer, written):
        from awares_edge.checkpoint.names import expected_shapes

        names = "\n".join(list(expected_shapes(source.spec))[: self.count])
        writer.path("names.txt").write_text(getattr(names, self.precision)())
        written(source.parameters)
        return {"names": str(self.count)}


def test_names_of_formats_and_runtimes():
    assert tuple(FORMATS) == get_args(FormatName)
    for name, entry in FORMATS.items():
        assert entry.name == name
        assert RUNTIMES[entry.runtime].reads == "bundle"


def test_precisions_are_what_the_writers_know():
    pytest.importorskip("onnx")
    pytest.importorskip("ml_dtypes")
    from awares_edge.export.gguf.format import FILE_TYPES
    from awares_edge.export.onnx.precisions import PRECISIONS
    from awares_edge.export.tensorrt.formats import NUMBER_FORMATS

    assert set(OnnxFormat.precisions()) == set(PRECISIONS)
    assert set(GgufFormat.precisions()) == set(FILE_TYPES)
    assert set(TensorrtFormat.precisions()) == set(NUMBER_FORMATS)
    assert [entry.precisions()[0] for entry in FORMATS.values()] == ["fp32", "f16", "fp16"]


def test_formats_and_their_options_are_known_without_their_packages():
    code = "import sys, awares_edge.export; print({'onnx', 'gguf', 'llama_cpp'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(GgufFormat, "needs", ("no_such_package",))
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'awares-edge\[gguf\]'"):
        GgufFormat.require()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OnnxFormat("int3"), "no precision 'int3' for onnx: choose fp32, fp16"),
        (lambda: make_format("coreml"), "no export format 'coreml': choose onnx, gguf, tensorrt"),
        (lambda: make_format("tensorrt"), "name the target device"),
        (lambda: GgufFormat(calibration=Path("m")), "is not used at f16: leave it out"),
        (lambda: TensorrtFormat("fp8", "h100"), "fp8 needs a calibration file"),
        (lambda: OnnxFormat("w8a8"), "w8a8 needs a calibration file"),
        (lambda: OnnxFormat("int8", ranges="minmax"), "ranges are not used at int8: .* for w8a8"),
        (
            lambda: TensorrtFormat("int4", "h100", ranges="entropy"),
            "not used at int4: .* w8a8, fp8",
        ),
        (
            lambda: OnnxFormat("w8a8", calibration=Path("m"), ranges="mean"),
            "ranges must be one of minmax, percentile, entropy, not mean",
        ),
        (lambda: TensorrtFormat("int4", "rtx20"), "does not take int4"),
        (lambda: ListFormat(count=0), "count must be between 1 and 100 names, not 0"),
        (lambda: ListFormat(order="left"), "order must be one of up, down, not left"),
        (lambda: ListFormat(width=60), "width must be one of 40, 80, not 60"),
        (lambda: ListFormat(count=float("nan")), "count must be between 1 and 100 names, not nan"),
    ],
)
def test_settings_are_checked_when_they_are_made(make, message):
    with pytest.raises(ExportError, match=message):
        make()


def test_a_precision_may_be_given_beside_a_format():
    assert make_format("gguf", "q8_0") == GgufFormat("q8_0")
    assert make_format(TensorrtFormat(target="h100"), "int8") == TensorrtFormat("int8", "h100")


def test_a_format_of_ones_own(tmp_path):
    seen = []
    bundle = export_checkpoint(
        NANO,
        tmp_path / "bundle",
        format=ListFormat("upper", count=3),
        profile=PROFILES["paper"],
        progress=lambda what, done, total: seen.append((what, done, total)),
    )
    assert (bundle.root / "names.txt").read_text().count("\n") == 2
    assert bundle.manifest.precision == "upper"
    assert bundle.manifest.provenance["names"] == "3"
    assert bundle.manifest.protocol.max_pixels == 14 * 14 * 256
    assert Bundle.open(tmp_path / "bundle").manifest == bundle.manifest
    assert seen[0][0] == "writing weights"
    assert seen[-1] == ("hashing", 2, 2)


def test_every_setting_is_an_option_of_the_command(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["export", "--help"]) == 0
    printed = capsys.readouterr().out
    for entry in FORMATS.values():
        for setting in entry.settings():
            assert f"--{setting.name.replace('_', '-')}" in printed
            assert " ".join(setting.help.text.split()[:3]) in printed
    assert "Options of --format tensorrt" in printed
    assert "From 64 to 1048576." in printed
    assert all(precision in printed for precision in GgufFormat.precisions())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ListFormat()),
        (["--count", "3", "--width", "40"], ListFormat(count=3, width=40)),
        (["--skip", "a", "--skip", "b"], ListFormat(skip=("a", "b"))),
        (["--dense", "--order", "up"], ListFormat(dense=True, order="up")),
        (["--count", "0"], "count must be between 1 and 100 names, not 0"),
        (["--width", "60"], "width must be one of 40, 80, not 60"),
        (["--order", "left"], "'left' is not one of"),
        (["--count", "many"], "--count"),
    ],
)
def test_settings_of_every_type_are_options(monkeypatch, arguments, expected):
    monkeypatch.setitem(FORMATS, "list", ListFormat)
    made = []

    @format_options.with_format_options
    def command(**settings: Any) -> None:
        made.append(format_options.read_format("list", None, settings))

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, arguments)
    if isinstance(expected, str):
        assert result.exit_code != 0
        assert expected in f"{result.output} {result.exception}"
    else:
        assert made == [expected]


def test_an_option_belongs_to_its_format():
    assert format_options.read_format("gguf", "q8_0", {"calibration": None}) == GgufFormat("q8_0")
    with pytest.raises(InputError, match="--target is for --format tensorrt"):
        format_options.read_format("gguf", None, {"target": "h100"})
