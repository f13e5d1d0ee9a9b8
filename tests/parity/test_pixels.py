"""Pixels exactly as transformers' Pillow processor makes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from awares_edge.vision import Preprocessing, extract_patches

processors = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")

LIMITS = {"min_pixels": 32 * 28 * 28, "max_pixels": 300_000}


@pytest.fixture(scope="module")
def processor():
    size = {"shortest_edge": LIMITS["min_pixels"], "longest_edge": LIMITS["max_pixels"]}
    return processors.Qwen2VLImageProcessorPil(size=size)


def assert_equal(processor, image):
    theirs = processor(images=[image], return_tensors="np")
    ours = extract_patches(image, Preprocessing(), **LIMITS)
    assert theirs["image_grid_thw"].tolist() == [[1, ours.grid.height, ours.grid.width]]
    np.testing.assert_array_equal(ours.pixels, theirs["pixel_values"])


# Hypothesis gives the fixture once for all examples: the processor holds no state.
@given(st.integers(20, 700), st.integers(20, 700), st.integers(0, 99))
def test_noise_of_any_size(processor, width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert_equal(processor, Image.fromarray(pixels))


def test_structure(processor):
    y, x = np.mgrid[0:333, 0:517]
    pixels = np.stack([x % 256, y % 256, (x // 20 + y // 20) % 2 * 255], axis=-1)
    assert_equal(processor, Image.fromarray(pixels.astype(np.uint8)))
