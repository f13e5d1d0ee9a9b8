"""The model class under lmms-eval's own registry, found by its entry point."""

import importlib
import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

import awares_edge
from awares_edge.errors import InputError
from awares_edge.evaluation import lmms_eval_plugin
from tests.support import lmms_eval

PICTURE = Image.new("RGBA", (112, 84), (200, 10, 10, 255))
DOC = {"image": PICTURE, "question": "Is it red?"}


@pytest.fixture
def registry(monkeypatch):
    """lmms-eval's registry; its base class is a stand-in, which needs no torch."""
    pytest.importorskip("loguru")
    lmms_eval.scorers()
    base = ModuleType("lmms_eval.api.model")

    class Hook:
        def __init__(self):
            self.kept = []

        def add_partial(self, *arguments):
            self.kept.append(arguments)

    class lmms:  # noqa: N801
        is_simple = True

        def __init__(self):
            self.cache_hook, self.task_dict = Hook(), {}

    base.lmms = lmms
    models = ModuleType("lmms_eval.models")
    models.__path__ = [str(Path(sys.modules["lmms_eval"].__path__[0], "models"))]
    monkeypatch.setitem(sys.modules, "lmms_eval.api.model", base)
    monkeypatch.setitem(sys.modules, "lmms_eval.models", models)
    monkeypatch.delitem(sys.modules, "awares_edge.evaluation.lmms_eval_model", raising=False)
    try:
        yield importlib.import_module("lmms_eval.models.registry_v2")
    finally:
        sys.modules.pop("awares_edge.evaluation.lmms_eval_model", None)


@pytest.fixture
def loaded(registry, monkeypatch):
    """The class as `--model awares_edge` finds it."""
    point = SimpleNamespace(load=lambda: lmms_eval_plugin.manifest)
    monkeypatch.setattr(
        registry.ModelRegistryV2, "_select_entry_points", lambda self, group: [point]
    )
    models = registry.ModelRegistryV2()
    models.load_entrypoint_manifests()
    assert models.list_model_names() == ["awares-edge", "awares_edge"]
    return models.get_model_class("awares_edge")


def make(loaded, monkeypatch, *replies, **arguments):
    module = sys.modules[loaded.__module__]
    monkeypatch.setattr(module, "load", lambda *_, **__: awares_edge.scripted(replies))
    # What lmms-eval adds to --model_args.
    model = loaded(**arguments, batch_size=1, device="cuda:0")
    model.task_dict = {"pope": {"test": [DOC, {**DOC, "image": None}]}}
    return model


def request(prompt="Is it red?", doc_id=0, visuals=1, **options):
    def to_visual(doc):
        return [doc["image"].convert("RGB")] * visuals

    return SimpleNamespace(args=(prompt, options, to_visual, doc_id, "pope", "test"))


def test_the_entry_point_names_the_manifest():
    text = (Path(awares_edge.__file__).parents[1] / "pyproject.toml").read_text()
    assert '[project.entry-points."lmms_eval.models"]' in text
    point = importlib.metadata.EntryPoint(
        "awares_edge", "awares_edge.evaluation.lmms_eval_plugin:manifest", "lmms_eval.models"
    )
    assert f'awares_edge = "{point.value}"' in text
    assert point.load() is lmms_eval_plugin.manifest


def test_requests_are_answered_in_their_order(loaded, monkeypatch):
    model = make(loaded, monkeypatch, "GET_CROPS: ['3']", "yes", "no")
    requests = [request(max_new_tokens=16, until=["\n\n"]), request("<image>Is it blue?")]
    assert model.generate_until(requests) == ["yes", "no"]
    assert [kept[2] for kept in model.cache_hook.kept] == ["yes", "no"]
    assert [kept[0] for kept in model.cache_hook.kept] == ["generate_until"] * 2
    model.clean()


def test_answers_end_at_the_tasks_stop_strings(loaded, monkeypatch):
    model = make(loaded, monkeypatch, "yes\n\nbecause", "a.b", "a.b")
    requests = [request(until=["\n\n"]), request(until="."), request(until=[""])]
    assert model.generate_until(requests) == ["yes", "a", "a.b"]


@pytest.mark.parametrize("mode", ["full", "low", "always-full"])
def test_the_mode_is_an_argument(mode, loaded, monkeypatch):
    replies = ["GET_CROPS: ['3']", "-", "-", "yes"] if mode == "always-full" else ["yes"]
    model = make(loaded, monkeypatch, *replies, mode=mode)
    assert model.generate_until([request()]) == ["yes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visuals": 2}, "one picture a question; pope gives"),
        ({"visuals": 0}, "one picture a question"),
        ({"temperature": 0.7}, "decodes greedily"),
        ({"do_sample": True}, "decodes greedily"),
    ],
)
def test_what_it_cannot_do_is_refused(changes, message, loaded, monkeypatch):
    with pytest.raises(InputError, match=message):
        make(loaded, monkeypatch, "x").generate_until([request(**changes)])


def test_arguments_are_checked(loaded, monkeypatch):
    with pytest.raises(InputError, match="no mode 'sideways'"):
        make(loaded, monkeypatch, mode="sideways")
    with pytest.raises(InputError, match="needs known evidence"):
        make(loaded, monkeypatch, mode="oracle-crop")
    with pytest.raises(InputError, match="cannot keep a share"):
        make(loaded, monkeypatch, mode="prune:0.5")
    with pytest.raises(InputError, match="batch_size is 4"):
        loaded(batch_size=4)
    with pytest.raises(NotImplementedError):
        make(loaded, monkeypatch).loglikelihood([])
