"""Sizes and positions; pixels are held against transformers in tests/parity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.errors import ImageError
from awares_edge.vision import (
    Grid,
    image_advance,
    image_positions,
    smart_resize,
    text_positions,
    visual_tokens,
)


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((1, 1), (3136, 12845056), (56, 56)),
        ((13, 14), (3136, 12845056), (56, 84)),
        ((640, 480), (3136, 12845056), (644, 476)),
        ((1653, 2339), (3136, 12845056), (1652, 2352)),
        ((8000, 6000), (3136, 12845056), (4116, 3080)),
    ],
)
def test_sizes_that_transformers_gives(size, limits, expected):
    assert smart_resize(*size, min_pixels=limits[0], max_pixels=limits[1]) == expected


def test_a_thin_picture_costs_what_transformers_says_and_not_what_qwen_vl_utils_says():
    assert visual_tokens(1500, 10, min_pixels=3136, max_pixels=12845056) == 25


@given(
    st.integers(1, 6000),
    st.integers(1, 6000),
    st.sampled_from([(3136, 12845056), (25088, 1605632)]),
)
def test_smart_resize_equals_transformers(width, height, limits):
    reference = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    low, high = limits
    if max(width, height) / min(width, height) > 200:
        with pytest.raises(ImageError, match="over 200 times"):
            smart_resize(width, height, min_pixels=low, max_pixels=high)
        return
    expected = reference.smart_resize(height, width, factor=28, min_pixels=low, max_pixels=high)
    assert smart_resize(width, height, min_pixels=low, max_pixels=high) == expected[::-1]


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_a_picture_without_area_is_refused(size):
    with pytest.raises(ImageError, match="no area"):
        smart_resize(*size, min_pixels=1, max_pixels=10)


def test_text_and_images_take_turns_in_positions():
    # 3 text tokens, an image of 2 x 3 tokens, 2 text tokens: get_rope_index of transformers.
    grid = Grid(4, 6)
    assert text_positions(0, 3).tolist() == [[0, 1, 2]] * 3
    assert image_positions(3, grid).tolist() == [
        [3, 3, 3, 3, 3, 3],
        [3, 3, 3, 4, 4, 4],
        [3, 4, 5, 3, 4, 5],
    ]
    assert image_advance(grid) == 3


def test_a_wide_image_moves_the_next_position_by_its_longer_side():
    assert image_advance(Grid(2, 20)) == 10
    assert Grid(2, 20).tokens == 10
