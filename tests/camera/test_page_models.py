"""Which models the page offers, and the change to another."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import awares_edge
from awares_edge.camera.web.models import ModelChoice, ModelChoices, find_models
from awares_edge.errors import BundleError, InputError
from awares_edge.runtimes.registry import RUNTIMES

EMBEDDED = awares_edge.embedded_bundle()
CHOICES = tuple(ModelChoice(name, Path(name), "null", "null, none") for name in ("one", "two"))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with two bundles and one that is none."""
    folder = tmp_path_factory.mktemp("shelf")
    for name in ("mine", "another"):
        shutil.copytree(EMBEDDED, folder / name)
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{}")
    return folder


def test_the_given_bundle_comes_first_then_those_beside_it_then_the_embedded_one(shelf):
    found = find_models([shelf / "mine"], EMBEDDED)
    assert [choice.name for choice in found] == ["mine", "another", "nano (embedded)"]
    assert {choice.runtime for choice in found} == {"onnx"}
    assert found[0].detail == "onnx, fp16"


def test_the_embedded_one_is_offered_once():
    found = find_models([EMBEDDED], EMBEDDED)
    assert [choice.name for choice in found] == ["nano (embedded)"]


def test_bundles_of_one_name_can_be_told_apart(shelf, tmp_path):
    shutil.copytree(EMBEDDED, tmp_path / "mine")
    names = [choice.name for choice in find_models([shelf / "mine", tmp_path / "mine"], EMBEDDED)]
    assert len(names) == len(set(names)) == 4


def test_a_runtime_that_is_missing_is_a_reason(shelf, monkeypatch):
    lacking = replace(RUNTIMES["onnx"], needs=("not_installed_anywhere",), extra="onnx-gpu")
    monkeypatch.setitem(RUNTIMES, "onnx", lacking)
    reason = find_models([shelf / "mine"], EMBEDDED)[0].reason
    assert reason == "needs not_installed_anywhere: pip install 'awares-edge[onnx-gpu]'"


def test_a_model_that_cannot_be_loaded_leaves_the_one_in_use():
    def fails(choice):
        raise BundleError("it is damaged")

    models = ModelChoices(awares_edge.scripted(["yes"]), CHOICES, fails)
    with pytest.raises(BundleError):
        models.change("two", lambda model: None)
    assert models.describe()["name"] == "one"
    models.close()


def test_one_change_at_a_time():
    loading, go = threading.Event(), threading.Event()

    def slow(choice):
        loading.set()
        assert go.wait(30)
        return awares_edge.scripted()

    models = ModelChoices(awares_edge.scripted(), CHOICES, slow)
    change = threading.Thread(target=models.change, args=("two", lambda model: None))
    change.start()
    assert loading.wait(30)
    with pytest.raises(InputError, match="being loaded"):
        models.change("one", lambda model: None)
    go.set()
    change.join(30)
    assert models.describe()["name"] == "two"
    models.close()
