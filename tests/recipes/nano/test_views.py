"""Views of a batch: the protocol's pixels, in a fixed number of slots."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("transformers")

from awares_edge.protocol import get_profile
from awares_edge.vision import Grid
from recipes.nano.patches import window_patches
from recipes.nano.views import Slots, ViewTable

SLOTS = Slots(pictures=2, crops=5, wide=1, tall=1)
PROFILE = get_profile("nano")


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", ["low", *PROFILE.tool.crops])
def test_a_view_holds_the_pixels_that_inference_would_show(name: str, picture: Image.Image) -> None:
    table = ViewTable(SLOTS)
    table.add_picture(np.zeros((224, 224, 3), np.uint8))
    view = table.view(table.add_picture(np.asarray(picture)), name)
    assert view is not None
    low = name == "low"
    shown = (
        PROFILE.first_picture(picture) if low else picture.crop(PROFILE.crop(name, (224, 224)).box)
    )
    assert view.grid == Grid(shown.height // 14, shown.width // 14)
    start = int(view.tokens.min()) // 16
    windows = table.windows[start : start + len(view.tokens) // 16]
    assert np.array_equal(windows, window_patches(np.asarray(shown)))


def test_views_share_no_slot_and_run_out(picture: Image.Image) -> None:
    table = ViewTable(SLOTS)
    numbers = [table.add_picture(np.asarray(picture)) for _ in range(2)]
    names = ("all", "low", "0", "1", "2", "5", "7")
    views = {(n, name): table.view(n, name) for n in numbers for name in names}
    missing = {key for key, view in views.items() if view is None}
    assert missing == {(1, "2"), (1, "5"), (1, "7")}
    tokens = np.concatenate([view.tokens for view in views.values() if view is not None])
    assert sorted(tokens) == list(range(16 * SLOTS.windows))


def test_asking_for_a_view_again_takes_no_other_slot(picture: Image.Image) -> None:
    table = ViewTable(SLOTS)
    number = table.add_picture(np.asarray(picture))
    assert table.view(number, "5") is table.view(number, "5") is not None
