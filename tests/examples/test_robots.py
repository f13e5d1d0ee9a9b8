"""The examples, run as they are on the embedded model."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from awares_edge import live, scripted
from awares_edge.synth import generate
from tests.live.support import frame, worker_held

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Imports an example as `python examples/NAME.py` would find it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == EXAMPLES:
            del sys.modules[name]


def truth(sample, question):
    (answer,) = (q.answer for q in sample.questions if q.text == question)
    return answer


def test_the_plain_loop_counts_the_objects_of_each_scene(example, capsys):
    module = example("plain_loop")
    printed = module.main(rounds=3)
    scenes = [generate("test", 1, n, family="scene") for n in range(3)]
    expected = [truth(scene, module.QUESTION) for scene in scenes]
    assert [line.split(" ")[0] for line in printed] == expected
    assert capsys.readouterr().out.splitlines()[-1] == "{'answered': 3}"


def test_the_gauge_robot_reads_every_gauge_and_raises_the_alarm(example):
    module = example("gauge_robot")
    log = module.main()
    assert [value for _, value, _ in log] == [
        int(truth(module.station(gauge.station), gauge.question)) for gauge in module.ROUTE
    ]
    assert [verdict for _, _, verdict in log] == ["ok", "ALARM", "ok", "ok", "ok"]


def test_the_gauge_robot_says_unreadable_when_the_camera_stops(example):
    module = example("gauge_robot")
    with scripted() as model, live.LiveAsker(model) as asker:
        latest = live.LatestFrame()
        latest.newer_than = lambda frame, timeout: None
        assert module.read(asker, latest, "?") is None


def test_the_gauge_robot_wants_two_frames_that_agree(example):
    module = example("gauge_robot")
    frames = (live.Frame(np.zeros((99, 99, 3), np.uint8)) for _ in range(9))
    with scripted(["10", "20", "x", "x", "30", "30"]) as model, live.LiveAsker(model) as asker:
        latest = live.LatestFrame()
        latest.newer_than = lambda frame, timeout: next(frames)
        assert module.read(asker, latest, "?") is None
        assert module.read(asker, latest, "?") == 30


def test_the_shelf_robot_finds_the_product_that_is_wrong(example, capsys):
    module = example("shelf_robot")
    product = next(iter(module.plan(1)))
    found = truth(module.shelf(1), f"What is the label of {product}?")
    assert module.main() == [{}, {product: found}, {}]
    assert "looking at" in capsys.readouterr().out


def test_the_shelf_robot_cancels_what_takes_too_long(example, monkeypatch):
    module = example("shelf_robot")
    monkeypatch.setattr(module, "SHELF_S", 0.0)
    with scripted(["held"]) as model, live.LiveAsker(model, policy="queue") as asker:
        with worker_held(asker):
            wrong = module.inspect(asker, frame(), {"the red star": "A11"})
        assert asker.waiting == 0
    assert wrong == {"the red star": "not read in time"}
