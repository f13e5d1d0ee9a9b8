"""Profiles pin prompt, map, boxes, low-res rule and limits together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from awares_edge.errors import InputError
from awares_edge.protocol import PROFILES, get_profile

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
