"""A simulated camera: deterministic, with a known geometry, and worse from level to level."""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from awares_edge.synth.capture import CONDITIONS, LEVELS, Conditions, Level, capture

PAGE = (300, 210)
DOT = (60, 40, 90, 70)  # a red square on the page


def page() -> Image.Image:
    sheet = Image.new("RGB", PAGE, "white")
    sheet.paste((220, 0, 0), DOT)
    return sheet


def taken(level: Level, *seed: int):  # type: ignore[no-untyped-def]
    return capture(page(), (0, 0, *PAGE), level, np.random.default_rng(seed))


@pytest.mark.parametrize("level", LEVELS)
def test_a_capture_is_a_function_of_its_seed(level: Level) -> None:
    one, two, other = taken(level, 1), taken(level, 1), taken(level, 2)
    assert np.array_equal(one.frame, two.frame)
    assert np.array_equal(one.matrix, two.matrix)
    assert not np.array_equal(one.frame, other.frame)
    width, height = CONDITIONS[level].frame
    assert one.frame.shape == (height, width, 3)
    assert one.frame.dtype == np.uint8


@pytest.mark.parametrize("level", LEVELS)
def test_the_homography_is_true_to_a_pixel(level: Level) -> None:
    """The middle of what is red on the paper is the middle of the projected square."""
    shot = taken(level, 1)
    corners = np.array([(DOT[i], DOT[j], 1) for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))])
    seen = corners @ shot.matrix.T
    seen = seen[:, :2] / seen[:, 2:]
    inside = Image.new("L", shot.frame.shape[1::-1])
    ImageDraw.Draw(inside).polygon([(x, y) for x, y in seen.tolist()], fill=255)
    expected = np.argwhere(np.asarray(inside)).mean(axis=0)
    left, top, right, bottom = (int(v) for v in (*seen.min(axis=0) - 9, *seen.max(axis=0) + 9))
    paper = shot.frame[top:bottom, left:right].astype(float)
    red = paper[..., 0] - paper[..., 1:].max(axis=2)
    threshold = (red.max() + np.median(red[:3])) / 2
    found = np.argwhere(red > threshold).mean(axis=0) + np.array([top, left])
    assert np.abs(found - expected).max() < 1.0


def test_each_level_is_worse_than_the_one_before_in_every_way() -> None:
    better_low = {"quality", "fill"}
    for before, after in pairwise(LEVELS):
        a, b = CONDITIONS[before], CONDITIONS[after]
        for field in fields(Conditions):
            if field.name == "frame":
                continue
            x, y = getattr(a, field.name), getattr(b, field.name)
            if field.name in better_low:
                assert sum(y) < sum(x), field.name
            elif field.name == "stops":
                assert y[1] - y[0] > x[1] - x[0]
            else:
                assert sum(y) > sum(x), field.name


def test_stronger_levels_are_noisier_darker_and_softer() -> None:
    """Measured on the paper and at the edge of the page, over a few frames."""
    noise, sharpness = {}, {}
    for level in LEVELS:
        flat, steps = [], []
        for seed in range(3):
            shot = taken(level, seed, 9)
            middle = shot.matrix @ np.array([200, 120, 1])
            x, y = (int(v) for v in middle[:2] / middle[2])
            patch = shot.frame[y - 12 : y + 12, x - 12 : x + 12].astype(float)
            flat.append(patch.std(axis=(0, 1)).mean() / patch.mean())
            grey = shot.frame.astype(float).mean(axis=2)
            steps.append(np.abs(np.diff(grey, axis=1)).max())
        noise[level], sharpness[level] = np.mean(flat), np.mean(steps)
    assert noise["mild"] < noise["medium"] < noise["strong"]
    assert sharpness["mild"] > sharpness["medium"] > sharpness["strong"]


def test_the_documents_name_the_conditions_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "synth.md").read_text(encoding="utf-8")
    rows = page.split("| | mild | medium | strong |\n|---|---|---|---|\n")[1].split("\n\n")[0]
    written = [
        [[float(n) for n in re.findall(r"-?[\d.]+", cell)] for cell in row.split("|")[2:-1]]
        for row in rows.splitlines()
    ]
    for name, row in zip((field.name for field in fields(Conditions)), written, strict=True):
        assert row == [list(getattr(CONDITIONS[level], name)) for level in LEVELS], name
