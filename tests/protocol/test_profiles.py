"""Profiles pin prompt, map, boxes, low-res rule and limits together."""

import json
import re
import sys
import typing
from dataclasses import MISSING, asdict, fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from awares_edge.errors import InputError
from awares_edge.protocol import PROFILES, ProtocolProfile, get_profile
from awares_edge.protocol.call import Tool
from awares_edge.protocol.profile import (
    AnswerRule,
    FirstView,
    RegionRule,
    ReplyRule,
    Source,
    TurnLimits,
)
from awares_edge.protocol.profiles import make_profile, published_profile
from awares_edge.protocol.sizes import Fit

tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

README_MAP = (
    "{'0': 'top-left', '1': 'top-right', '2': 'bottom-left', '3': 'bottom-right', "
    "'4': 'center', '5': 'top', '6': 'bottom', '7': 'left', '8': 'right'"
)


def test_the_paper_offers_all_and_the_readme_does_not():
    assert README_MAP + ", 'all': 'all'}, otherwise" in PROFILES["paper"].system
    assert README_MAP + "}, otherwise" in PROFILES["readme"].system
    assert "all" in PROFILES["paper"].tool.crops
    assert "all" not in PROFILES["readme"].tool.crops


def test_the_evaluators_prompt_is_kept_to_the_letter():
    prompt = PROFILES["evaluator"].system
    assert "respond with GET_CROPS [<crop_number>] to get" in prompt
    assert "the avalible <crop_numbers>" in prompt
    assert "} ,otherwise provide your answer." in prompt


def test_pixel_limits():
    assert (PROFILES["paper"].min_pixels, PROFILES["paper"].max_pixels) == (3136, 12845056)
    evaluator = PROFILES["evaluator"]
    assert (evaluator.min_pixels, evaluator.max_pixels) == (25088, 1605632)


def test_an_unknown_profile_is_named_with_its_alternatives():
    with pytest.raises(InputError, match="choose one of paper, readme, evaluator, nano"):
        get_profile("papre")


def test_half_is_both_sides_halved():
    assert PROFILES["paper"].first_picture(Image.new("RGB", (101, 81))).size == (50, 40)
    assert PROFILES["paper"].first_picture(Image.new("RGB", (1, 1))).size == (1, 1)


@given(st.integers(1, 1500), st.integers(1, 1500))
def test_thumbnail_has_the_size_that_pillow_gives(width, height):
    expected = Image.new("1", (width, height))
    expected.thumbnail((512, 512))
    assert PROFILES["readme"].first_size((width, height)) == expected.size


def test_thumbnail_has_the_pixels_that_pillow_gives():
    image = Image.effect_noise((1700, 900), 80).convert("RGB")
    expected = image.copy()
    expected.thumbnail((512, 512))
    assert PROFILES["readme"].first_picture(image).tobytes() == expected.tobytes()


@given(st.integers(1, 30_000), st.integers(1, 600))
def test_the_source_is_scaled_into_its_limits_and_keeps_its_aspect(width, height):
    evaluator, nano = PROFILES["evaluator"], PROFILES["nano"]
    view = evaluator.limited_view(Image.new("1", (width, height)))
    assert max(view.size) <= 20_000
    small = nano.limited_view(Image.new("1", (min(width, 3000), height)))
    assert small.width * small.height <= 224 * 224
    if width <= 20_000:
        assert view.size == (width, height)


PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
TABLES = {
    "The file itself": ProtocolProfile,
    "`[source]`": Source,
    "`[first_view]`": FirstView,
    "`[tool]`": Tool,
    "`[region]`": RegionRule,
    "`[reply]`": ReplyRule,
    "`[answer]`": AnswerRule,
    "`[limits]`": TurnLimits,
    "`[source.fit]`, `[first_view.fit]`, `[region.fit]`": Fit,
}


@pytest.mark.parametrize("title", TABLES)
def test_the_page_has_every_field_and_its_default(title):
    section = PAGE.split(f"### {title}\n")[1].split("\n#")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", section, re.M))
    hints = typing.get_type_hints(TABLES[title])
    known = [f for f in fields(TABLES[title]) if not is_dataclass(hints[f.name])]
    assert list(rows) == [f.name for f in known]
    for f in known:
        said = rows[f.name].strip("`")
        if f.default is MISSING:
            assert said == "required"
        elif f.default in (None, (), ""):
            assert said in ("none", "empty")
        else:
            assert json.loads(said) == f.default


def test_the_least_profile_of_the_page_works():
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    profile = make_profile(tomllib.loads(text), "page")
    assert profile.call.parse("<look>[1, 2, 30, 40]</look>").status == "ok"


def test_every_published_file_is_a_profile_of_its_own_name():
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert profile.about
        assert make_profile(json.loads(json.dumps(asdict(profile))), name) == profile


def test_a_checkpoint_has_the_profile_that_names_it():
    assert published_profile("chenshawn/deepeyes-7b") is PROFILES["deepeyes"]
    assert published_profile("Qwen/Qwen2.5-VL-7B-Instruct") is None
    checkpoints = [c.casefold() for p in PROFILES.values() for c in p.checkpoints]
    assert len(set(checkpoints)) == len(checkpoints)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_pixels": 9000, "max_pixels": 8000}, "min_pixels must not be above max_pixels"),
        ({"user": "{image}"}, "user must hold {image} once"),
        ({"tool": {"crops": ["0", "0"]}}, "tool.crops must be different"),
        ({"tool": {"crops": ["9"]}}, "offer known crops"),
        ({"tool": {"crops": []}}, "offer known crops"),
        ({"region": {"boxes": "evaluator"}}, "region.min_side of at least 100"),
        ({"region": {"references": "names"}}, "region.references needs tool.reference"),
        ({"limits": {"max_calls": 0}}, "max_calls must be a whole number between 1 and 64"),
        ({"limits": {"max_calls": True}}, "max_calls must be of type int"),
        ({"tokens": ["<a>"] * 17}, "tokens must be of 0 to 16 items, it has 17"),
    ],
)
def test_fields_that_contradict_each_other_are_named(change, message):
    data = {"name": "mine", "system": "Look.", "tool": {"crops": ["0", "all"]}, **change}
    with pytest.raises(InputError, match=message):
        make_profile(data, "mine.toml")
