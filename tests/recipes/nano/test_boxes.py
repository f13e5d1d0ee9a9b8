"""Boxes that the `boxes` stage teaches: on their grid, around all evidence, and as they are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("transformers")

from awares_edge.protocol.regions import locate
from awares_edge.synth import generate
from awares_edge.synth.canvas import union
from awares_edge.synth.text import Box
from awares_edge.vision import Grid, Preprocessing, extract_patches
from recipes.nano.boxes import MARGIN, PROFILE, SHORT, STEP, VIEW, call_text, target_box
from recipes.nano.packing import Packer
from recipes.nano.views import Slots, ViewTable

PACKER = Packer(PROFILE)
SIDE = 2 * VIEW


@st.composite
def evidence(draw: st.DrawFn) -> tuple[Box, ...]:
    def box() -> Box:
        x1, x2 = sorted(draw(st.lists(st.integers(0, SIDE), min_size=2, max_size=2, unique=True)))
        y1, y2 = sorted(draw(st.lists(st.integers(0, SIDE), min_size=2, max_size=2, unique=True)))
        return x1, y1, x2, y2

    return tuple(box() for _ in range(draw(st.integers(1, 3))))


@given(evidence(), st.none() | st.integers(0, 2**32))
def test_a_box_holds_all_evidence_with_its_margin(
    evidence: tuple[Box, ...], seed: int | None
) -> None:
    box = target_box(evidence, None if seed is None else np.random.default_rng(seed))
    assert all(edge % STEP == 0 for edge in box)
    x1, y1, x2, y2 = (2 * edge for edge in box)
    left, top, right, bottom = union(*evidence)
    assert max(0, left - MARGIN) >= x1 >= 0
    assert max(0, top - MARGIN) >= y1 >= 0
    assert min(SIDE, right + MARGIN) <= x2 <= SIDE
    assert min(SIDE, bottom + MARGIN) <= y2 <= SIDE
    sides = {box[2] - box[0], box[3] - box[1]}
    assert sides <= set(SHORT) or sides <= {VIEW // 2, VIEW}


@given(evidence())
def test_a_call_is_read_back_and_cut_where_it_was_taught(evidence: tuple[Box, ...]) -> None:
    box = target_box(evidence)
    call = PROFILE.call.parse(call_text(box))
    assert call.status == "ok"
    region = locate(PROFILE, call.requests[0], [(SIDE, SIDE)], (VIEW, VIEW))
    assert region.box == tuple(2 * edge for edge in box)
    assert region.size == (region.box[2] - region.box[0], region.box[3] - region.box[1])


def test_a_random_place_is_one_of_several() -> None:
    rng = np.random.default_rng(0)
    places = {target_box([(100, 100, 120, 110)], rng) for _ in range(100)}
    assert len(places) > 1
    assert target_box([(100, 100, 120, 110)]) in places


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_call_costs_few_tokens_and_begins_as_one_for_crops(number: int) -> None:
    crops = Packer()
    for question in generate("train", 9, number).questions:
        if question.size == "small":
            ids, weights = PACKER.weighted_call(target_box(question.evidence))
            assert len(ids) == len(weights) <= 22
            assert ids[0] == crops.weighted_call(["0"])[0][0]
            assert ids[-1] == PACKER.special.im_end
            assert len(set(weights)) == 3


@pytest.mark.parametrize(
    ("box", "grid"),
    [
        ((28, 14, 112, 70), Grid(4, 6)),
        ((0, 168, 56, 224), Grid(4, 4)),
        ((56, 56, 168, 168), Grid(8, 8)),
        ((0, 42, 224, 154), Grid(8, 16)),
        ((0, 0, 224, 224), Grid(16, 16)),
    ],
)
def test_a_view_of_a_box_holds_the_patches_that_inference_would_show(box: Box, grid: Grid) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    table = ViewTable(Slots(pictures=1, crops=1, wide=1, tall=1))
    view = table.view(table.add_picture(pixels), box)
    assert view is not None
    assert view.grid == grid
    shown = extract_patches(
        Image.fromarray(pixels).crop(box), Preprocessing(), min_pixels=3136, max_pixels=SIDE**2
    )
    assert shown.grid == grid
    raw = table.windows.reshape(-1, 4, 3, 196)[view.tokens]  # [tokens, patches, channels, pixels]
    wanted = shown.pixels.reshape(-1, 4, 3, 2, 196)[:, :, :, 0]
    constants = Preprocessing()
    mean, std = (
        np.array(values)[:, None] for values in (constants.image_mean, constants.image_std)
    )
    order = np.arange(grid.tokens).reshape(grid.rows, grid.columns).reshape(-1)
    assert np.abs((raw[order] / 255 - mean) / std - wanted).max() < 1e-5
    assert table.inside.sum() == 64 * len(table.inside) - (64 - grid.patches) * (grid.patches < 64)
