"""Tables of docs/tensorrt.md come from the code."""

from pathlib import Path

import pytest

from awares_edge.errors import ExportError
from awares_edge.export.tensorrt.files import draft_plan, make_plan
from awares_edge.export.tensorrt.format import TensorrtFormat
from awares_edge.export.tensorrt.memory import estimate
from awares_edge.export.tensorrt.targets import GIB, TARGETS
from tests.support.vision_spec import qwen_spec

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = ("orin-nano", "orin-nx", "orin-agx", "rtx40", "h100")


def target_row(target):
    sm = f"{target.capability // 10}.{target.capability % 10}"
    versions = f"{target.tensorrt[0]} and later"
    return (
        f"| `{target.name}` | {target.title} | {sm} | {target.product} {versions} "
        f"| {', '.join(target.precisions)} | {target.cache_length} | {target.visual_tokens} |"
    )


def memory_row(size, name):
    spec, target, cells = qwen_spec(size), TARGETS[name], []
    for precision in ("fp16", "int8", "int4"):
        found = estimate(spec, draft_plan(spec, TensorrtFormat(precision, name)))
        try:
            make_plan(spec, TensorrtFormat(precision, name))
            note = ""
        except ExportError:
            note = " (no)"
        cells.append(f"{found.total / GIB:.1f}{note} / {found.build / GIB:.0f}")
    return f"| {size} | `{target.name}` | " + " | ".join(cells) + " |"


@pytest.mark.parametrize("name", TARGETS)
def test_the_table_of_targets(name):
    assert target_row(TARGETS[name]) in (DOCS / "tensorrt.md").read_text().splitlines()


@pytest.mark.parametrize("size", ["3B", "7B"])
@pytest.mark.parametrize("name", SHOWN)
def test_the_table_of_memory(size, name):
    assert memory_row(size, name) in (DOCS / "tensorrt.md").read_text().splitlines()


def test_pages_name_targets_that_exist():
    for page in ("jetson", "consumer-gpu", "datacenter-gpu"):
        text = (DOCS / f"{page}.md").read_text()
        lines = [line for line in text.splitlines() if "--target" not in line]
        named = {word.strip("`,") for line in lines for word in line.split() if word[0] == "`"}
        wanted = {
            "jetson": lambda n: n.startswith(("orin", "thor")),
            "consumer-gpu": lambda n: n.startswith("rtx"),
            "datacenter-gpu": lambda n: not n.startswith(("orin", "thor", "rtx")),
        }[page]
        assert {name for name in TARGETS if wanted(name)} <= named, page


def test_no_figure_is_claimed_for_a_gpu():
    for page in ("jetson", "consumer-gpu", "datacenter-gpu"):
        assert "not executed" in (DOCS / f"{page}.md").read_text().lower()
