"""docs/security.md states the limits that the code has."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| [^|]+ \| ([^|]+) \| (`[^|]+`) \|$", PAGE, re.M)


@pytest.mark.parametrize(("said", "names"), ROWS, ids=[names for _, names in ROWS])
def test_a_limit_is_the_constant(said, names):
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\d|\d", said)]
    constants = []
    for name in re.findall(r"`([\w.]+)`", names):
        module, _, constant = name.rpartition(".")
        constants.append(getattr(importlib.import_module(f"awares_edge.{module}"), constant))
    assert numbers == constants


MODULES = (
    *("bundle.limits", "bundle.store", "bundle.graph_files", "bundle.arrays"),
    *("protocol.profiles", "protocol.call.json_object", "protocol.call.json_prefix"),
    *("lines", "protocol.tokenizer_file", "vision.limits", "vision.source"),
    *("camera.web.models", "camera.web.options"),
    *("checkpoint.safetensors_header", "checkpoint.json_object", "checkpoint.module_pattern"),
    "serve.kv_file",
    *("remote.http", "remote.exchange", "remote.events", "remote.servers"),
)


@pytest.mark.parametrize("module", MODULES)
def test_every_limit_of_these_modules_is_on_the_page(module):
    limits = [n for n in vars(importlib.import_module(f"awares_edge.{module}")) if n[:4] == "MAX_"]
    assert limits
    assert [name for name in limits if f".{name}`" not in PAGE] == []
