"""The crop set: ids, names and both published box rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.protocol import CROP_NAMES, PROFILES, crop_box

sides = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("crop_id", "box"),
    [
        ("0", (0, 0, 50, 40)),
        ("1", (50, 0, 101, 40)),
        ("2", (0, 40, 50, 81)),
        ("3", (50, 40, 101, 81)),
        ("4", (25, 20, 75, 60)),
        ("5", (0, 0, 101, 40)),
        ("6", (0, 40, 101, 81)),
        ("7", (0, 0, 50, 81)),
        ("8", (50, 0, 101, 81)),
        ("all", (0, 0, 101, 81)),
    ],
)
def test_halves_are_the_readme_boxes_of_an_odd_sized_picture(crop_id, box):
    assert crop_box(crop_id, 101, 81, "halves") == box


@pytest.mark.parametrize(
    ("crop_id", "box"),
    [
        ("0", (0, 0, 150, 100)),
        ("1", (151, 0, 301, 100)),
        ("3", (151, 51, 301, 151)),
        ("4", (75, 25, 225, 125)),
        ("5", (0, 0, 301, 100)),
        ("8", (151, 0, 301, 151)),
        ("all", (0, 0, 301, 151)),
    ],
)
def test_evaluator_boxes_have_sides_of_at_least_100_and_hang_at_the_far_edges(crop_id, box):
    assert crop_box(crop_id, 301, 151, "evaluator", min_side=100) == box


def test_the_evaluator_leaves_one_column_of_an_odd_width_uncovered():
    left = crop_box("7", 301, 300, "evaluator")
    right = crop_box("8", 301, 300, "evaluator")
    assert right[0] - left[2] == 1


@pytest.mark.parametrize("crop_id", CROP_NAMES)
def test_the_evaluator_sends_a_picture_with_a_side_under_100_pixels_whole(crop_id):
    profile = PROFILES["evaluator"]
    assert profile.crop(crop_id, (99, 400)).box == (0, 0, 99, 400)
    assert profile.crop(crop_id, (400, 99)).box == (0, 0, 400, 99)


@given(sides, sides, st.sampled_from(list(CROP_NAMES)), st.sampled_from(list(PROFILES.values())))
def test_every_box_lies_inside_its_picture_and_has_an_area(width, height, crop_id, profile):
    left, top, right, bottom = profile.crop(crop_id, (width, height)).box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@given(st.integers(2, 3000), st.integers(2, 3000))
def test_quadrants_tile_the_picture(width, height):
    boxes = [crop_box(i, width, height, "halves") for i in "0123"]
    assert sum((r - x) * (b - y) for x, y, r, b in boxes) == width * height
