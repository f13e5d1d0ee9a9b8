"""The public surface: small, deliberate, and light."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import awares_edge

PACKAGE = Path(awares_edge.__file__).parent

# Adding or removing a name here is a decision: say it in the CHANGELOG.
PUBLIC = {
    "PROFILES",
    "Answer",
    "AskOptions",
    "AwaresError",
    "Bundle",
    "BundleError",
    "Cancelled",
    "CheckpointError",
    "ContextOverflow",
    "CropsRequested",
    "DeadlineExceeded",
    "Event",
    "ExportError",
    "ImageError",
    "InputError",
    "Interrupted",
    "Model",
    "Picture",
    "Policies",
    "ProtocolProfile",
    "QuestionError",
    "RuntimeUnavailable",
    "SessionError",
    "TextDelta",
    "TurnTrace",
    "ZoomedCrop",
    "__version__",
    "embedded_bundle",
    "load",
    "scripted",
}

# What each layer may import from the package, besides itself: data flows one way.
LAYERS = {
    "errors": set(),
    "vision": {"errors"},
    "protocol": {"errors", "vision"},
    "bundle": {"errors", "files", "vision", "protocol"},
    "checkpoint": {"errors", "vision", "protocol", "bundle"},
    "runtimes": {"errors", "files", "vision", "protocol", "bundle", "checkpoint"},
    "controller": {"errors", "vision", "protocol", "runtimes"},
    "api": {"errors", "vision", "protocol", "bundle", "runtimes", "controller", "checkpoint"},
}


def test_exactly_these_names_are_public():
    assert set(awares_edge.__all__) == PUBLIC
    assert all(hasattr(awares_edge, name) for name in PUBLIC)


def test_every_public_class_and_function_is_documented():
    for name in PUBLIC:
        item = getattr(awares_edge, name)
        if inspect.isclass(item) or inspect.isfunction(item):
            assert inspect.getdoc(item), name
            methods = inspect.getmembers(item, inspect.isfunction)
            for method, function in methods:
                if not method.startswith("_") and function.__module__.startswith("awares_edge"):
                    assert inspect.getdoc(function), f"{name}.{method}"


def test_every_error_descends_from_one():
    errors = [
        v for n, v in vars(awares_edge).items() if n.endswith(("Error", "Overflow", "Cancelled"))
    ]
    assert all(issubclass(error, awares_edge.AwaresError) for error in errors)


def imported(path):
    """Top-level parts of the package that a module imports while it is being imported."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("awares_edge."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("layer", LAYERS)
def test_data_flows_one_way(layer):
    root = PACKAGE / layer
    files = root.rglob("*.py") if root.is_dir() else [PACKAGE / f"{layer}.py"]
    for path in files:
        assert set(imported(path)) <= LAYERS[layer] | {layer, "_version"}, path


def test_the_device_path_imports_neither_torch_nor_transformers_nor_a_runtime():
    code = """
import sys
import awares_edge, awares_edge.apps.cli
with awares_edge.scripted(["GET_CROPS: ['3']", "42"]) as model:
    import numpy
    assert model.ask(numpy.zeros((200, 200, 3), "uint8"), "?").text == "42"
heavy = {"torch", "transformers", "onnx", "safetensors", "peft", "matplotlib", "onnxruntime",
         "llama_cpp", "gguf", "huggingface_hub", "scipy", "pandas"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_floors_that_ci_runs_are_the_ones_that_are_promised():
    root = PACKAGE.parent
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    block = project.split("\ndependencies = [")[1].split("]")[0]
    promised = dict(re.findall(r'"([a-z]+)>=([0-9.]+)"', block))
    tested = dict(re.findall(r"^([a-z]+)==([0-9.]+)$", (root / ".ci/floors.txt").read_text(), re.M))
    assert promised.keys() == tested.keys()
    for name, floor in promised.items():
        assert f"{tested[name]}.".startswith(f"{floor}."), name
