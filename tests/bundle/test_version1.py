"""Bundles of format version 1 still load, and ask as they did: the embedded nano's old manifest."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import awares_edge
from awares_edge.api import embedded_bundle
from awares_edge.bundle import Manifest
from awares_edge.errors import BundleError
from awares_edge.protocol import PROFILES
from awares_edge.spec import MANIFEST_NAME
from tests.support.forged import forge

OLD = (Path(__file__).parent / "version1_nano.json").read_text(encoding="utf-8")


def changed(change):
    body = json.loads(OLD)
    change(body)
    return json.dumps(body)


def test_a_flat_profile_becomes_the_published_one():
    old = Manifest.from_json(OLD)
    assert old.protocol == replace(PROFILES["nano"], about="")
    new = Manifest.from_json((embedded_bundle() / MANIFEST_NAME).read_text())
    assert replace(old, protocol=new.protocol) == new


def test_every_field_of_version_1_has_its_place():
    flat = {
        **{"name": "mine", "system_prompt": "Look.", "crop_ids": ["0", "all"]},
        **{"call_opening": "ZOOM [", "call_closing": "]", "box_rule": "evaluator"},
        **{"min_crop_side": 120, "low_res": "thumbnail", "thumbnail_side": 300},
        **{"resampler": "bicubic", "source_max_side": 900, "source_max_pixels": 70_000},
        **{"min_pixels": 800, "max_pixels": 90_000},
    }
    profile = Manifest.from_json(changed(lambda body: body.update(protocol=flat))).protocol
    assert (profile.name, profile.system) == ("mine", "Look.")
    assert profile.tool.crops == ("0", "all")
    assert profile.crop_call(["0"]) == "ZOOM ['0']"
    assert (profile.region.boxes, profile.region.min_side) == ("evaluator", 120)
    assert (profile.first_view.rule, profile.first_view.side) == ("thumbnail", 300)
    assert profile.first_view.resampler == profile.source.resampler == "bicubic"
    assert (profile.source.max_side, profile.source.max_pixels) == (900, 70_000)
    assert (profile.min_pixels, profile.max_pixels) == (800, 90_000)


def test_it_is_written_as_the_current_version():
    body = json.loads(Manifest.from_json(OLD).to_json())
    assert body["version"] == 2
    assert Manifest.from_json(json.dumps(body)) == Manifest.from_json(OLD)


def test_an_old_bundle_answers_as_the_new_one(tmp_path):
    root = forge(tmp_path / "old")
    (root / MANIFEST_NAME).write_text(OLD)
    picture = np.random.default_rng(0).integers(0, 256, (200, 220, 3), np.uint8)
    answers = []
    for path in (root, None):
        with awares_edge.load(path, threads=1) as model:
            answers.append(model.ask(picture, "What is the code?"))
    old, new = answers
    assert (old.text, old.call_text, old.crops) == (new.text, new.call_text, new.crops)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b["protocol"].update(tool={}), "unknown field 'tool'"),
        (lambda b: b["protocol"].pop("system_prompt"), "lacks the field 'system'"),
        (lambda b: b["protocol"].update(box_rule="x"), "must be one of 'halves', 'evaluator'"),
        (lambda b: b["protocol"].update(crop_ids=["0", "0"]), "must be different"),
        (lambda b: b.update(protocol=[]), "must be an object"),
        (lambda b: b.update(version=True), "format version unknown"),
        (lambda b: b.update(version="1"), "format version unknown"),
    ],
)
def test_what_version_1_never_said_is_refused(change, message):
    with pytest.raises(BundleError, match=message):
        Manifest.from_json(changed(change))
