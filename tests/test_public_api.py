"""The public surface: small, deliberate, and light."""

import ast
import builtins
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
    "About",
    "Answer",
    "AskOptions",
    "Askable",
    "AwaresError",
    "Bundle",
    "BundleError",
    "CameraError",
    "Cancelled",
    "CheckpointError",
    "ContextOverflow",
    "CropsRequested",
    "DeadlineExceeded",
    "EndpointError",
    "Event",
    "ExportError",
    "FrameSuperseded",
    "FrameTooOld",
    "ImageError",
    "InputError",
    "Interrupted",
    "Model",
    "OpenPicture",
    "Picture",
    "Policies",
    "ProtocolProfile",
    "QuestionError",
    "QueueFull",
    "ReasoningDelta",
    "RuntimeUnavailable",
    "SessionError",
    "TextDelta",
    "TurnTrace",
    "ZoomedCrop",
    "__version__",
    "connect",
    "embedded_bundle",
    "load",
    "scripted",
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


def class_bases():
    """Names of the bases of every class of the package, by its name; read, not imported."""
    bases = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names = {ast.unparse(base).split(".")[-1] for base in node.bases}
                bases.setdefault(node.name, set()).update(names)
    return bases


def test_every_error_descends_from_one():
    bases = class_bases()

    def ancestors(name, seen=frozenset()):
        return {name}.union(*(ancestors(b, seen | {name}) for b in bases.get(name, set()) - seen))

    builtin = {n for n, v in vars(builtins).items() if inspect.isclass(v)}
    builtin = {n for n in builtin if issubclass(getattr(builtins, n), BaseException)}
    errors = {name for name in bases if ancestors(name) & builtin}
    assert {"RuntimeUnavailable", "TrainingError", "EndpointError"} < errors
    assert [name for name in errors if "AwaresError" not in ancestors(name)] == []


def test_the_tree_of_errors_is_drawn_as_it_is():
    drawn = re.findall(r"^ +[│├└─ ]*(\w+)", awares_edge.errors.__doc__, re.M)
    defined = [n for n, v in vars(awares_edge.errors).items() if inspect.isclass(v)]
    assert sorted(drawn) == sorted(defined)
    assert set(defined) <= PUBLIC


def architecture():
    """What each room may import, from the table in docs/architecture.md, in its order.

    "torch" stands for torch and transformers.
    """
    page = PACKAGE.parent / "docs" / "architecture.md"
    rooms: dict[str, set[str]] = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\| `(\w+)/?` \|.*\| ([^|]+) \|", line):
            room, cell = match.groups()
            allowed = set(re.findall(r"`([\w.]+)`", cell))
            allowed |= set(rooms) if cell.startswith("all of the above") else set()
            rooms[room] = allowed | ({"torch"} if cell.endswith("; torch") else set())
    return rooms


ROOMS = architecture()
# The package's own modules: no rooms.
OWN = {"__init__", "__main__", "_version"}


def imported(path):
    """Dotted names that a module imports, at its top or in a function, in any form."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = [PACKAGE.name, *path.relative_to(PACKAGE).parts[: -node.level]]
            parts = (package if node.level else []) + ([node.module] if node.module else [])
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def outside(path, room, allowed):
    """What a module of a room imports against the table."""
    for name in imported(path):
        top, _, inner = name.partition(".")
        if top == PACKAGE.name:
            fine = [room, "_version", *allowed]
            if not any(inner == a or inner.startswith(f"{a}.") for a in fine):
                yield name
        # Recipes use the package; the package never imports a recipe.
        elif (top in ("torch", "transformers") and "torch" not in allowed) or top == "recipes":
            yield name


def modules(room):
    root = PACKAGE / room
    return list(root.rglob("*.py")) if root.is_dir() else [root.with_suffix(".py")]


def test_the_table_names_every_room_and_imports_only_upwards():
    found = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}
    assert {name.removesuffix(".py") for name in found} - OWN == set(ROOMS)
    above = {"torch"}
    for room, allowed in ROOMS.items():
        assert {name.split(".")[0] for name in allowed} <= above, room
        above.add(room)


@pytest.mark.parametrize("room", ROOMS)
def test_data_flows_one_way(room):
    found = {path: list(outside(path, room, ROOMS[room])) for path in modules(room)}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from awares_edge.runtimes.onnx import OnnxRuntime",
        "from awares_edge.runtimes import registry",
        "import awares_edge.runtimes.registry as r",
        "import awares_edge",
        "from awares_edge import load",
        "from awares_edge import api",
        "from .. import api",
        "from ..runtimes.null import NullRuntime",
        "def f():\n    import torch.nn",
        "from recipes.nano.run import run_recipe",
    ],
)
def test_every_form_of_an_import_is_seen(line, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path / "awares_edge")
    path = tmp_path / "awares_edge" / "controller" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"from awares_edge.runtimes.base import Session\n{line}\n")
    assert len(list(outside(path, "controller", ROOMS["controller"]))) == 1


def test_synth_needs_numpy_and_pillow_alone():
    tops = {name.split(".")[0] for path in modules("synth") for name in imported(path)}
    assert tops - {"awares_edge"} - set(sys.stdlib_module_names) == {"numpy", "PIL"}


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
