"""The batched training forward equals transformers on every packed conversation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from awares_edge.protocol import crop_box, get_profile  # noqa: E402
from awares_edge.synth import generate  # noqa: E402
from awares_edge.vision import Preprocessing, extract_patches  # noqa: E402
from recipes.nano.batches import Batches, Mix  # noqa: E402
from recipes.nano.config import build_model  # noqa: E402
from recipes.nano.packed_model import ARRAYS, PackedModel  # noqa: E402
from recipes.nano.views import Slots  # noqa: E402

SLOTS = Slots(pictures=2, crops=4, wide=1, tall=1)
PROFILE = get_profile("nano")


@pytest.fixture(scope="module", params=[False, True], ids=["crops", "boxes"])
def batch(request: pytest.FixtureRequest) -> tuple[Batches, dict[str, Any]]:
    data = Batches("train", 5, SLOTS, Mix(two_turn=1.0, boxes=request.param))
    return data, data[0]


def _conversation(data: Batches, ids: np.ndarray, low: bool, picture: Image.Image) -> list[Any]:
    """The pictures of a packed conversation, prepared as inference prepares them."""
    views = [PROFILE.first_picture(picture) if low else picture]
    tokenizer = data.packer.tokenizer._tokenizer
    text = tokenizer.decode(list(ids), skip_special_tokens=False)
    call = re.search(r"GET_CROPS: ?\[([^\]]*)\];?<\|im_end\|>\n<\|im_start\|>user", text)
    if call and data.mix.boxes:
        views.append(picture.crop(tuple(2 * int(n) for n in call[1].split(","))))
    elif call:
        for crop_id in re.findall(r"'(\w+)'", call[1]):
            views.append(picture.crop(crop_box(crop_id, 224, 224, rule="halves")))
    return [
        extract_patches(v, Preprocessing(), min_pixels=3136, max_pixels=224 * 224) for v in views
    ]


def test_packed_rows_equal_transformers(batch: tuple[Batches, dict[str, Any]]) -> None:
    data, arrays = batch
    model = build_model(1).eval()
    packed = PackedModel(model, SLOTS)
    t = {k: torch.from_numpy(np.asarray(arrays[k])) for k in ARRAYS}
    with torch.no_grad():
        table = packed.visual_table(t["windows"], t["inside"])
        hidden, _ = packed.text(t["ids"], t["visual"], table, t["positions"], t["block"])
        logits = hidden @ model.model.language_model.embed_tokens.weight.T
    pad = data.packer.special.image_pad
    compared, two_turn = 0, 0
    for row in range(4):
        picture = Image.fromarray(generate("train", 5, row // 2).picture)
        block = arrays["block"][row]
        for k in range(1, block.max() + 1):
            index = np.flatnonzero((block == 0) | (block == k))
            ids = arrays["ids"][row][index]
            patches = _conversation(data, ids, row % 2 == 1, picture)
            inputs = torch.from_numpy(ids)[None]
            with torch.no_grad():
                expected = model(
                    input_ids=inputs,
                    attention_mask=torch.ones_like(inputs),
                    pixel_values=torch.from_numpy(np.concatenate([p.pixels for p in patches])),
                    image_grid_thw=torch.tensor(
                        [[1, p.grid.height, p.grid.width] for p in patches]
                    ),
                    mm_token_type_ids=(inputs == pad).int(),
                ).logits[0]
            assert (expected - logits[row][index]).abs().max() < 2e-5
            compared += 1
            two_turn += len(patches) > 1
    assert compared >= 10
    assert two_turn >= 1


def test_batches_are_a_function_of_their_index() -> None:
    data = Batches("train", 5, SLOTS, Mix())
    one, two, other = data[3], data[3], data[4]
    for name in ARRAYS:
        assert np.array_equal(one[name], two[name])
    assert not np.array_equal(one["ids"], other["ids"])


def test_supervised_tokens_follow_their_prediction_place(
    batch: tuple[Batches, dict[str, Any]],
) -> None:
    data, arrays = batch
    ids = arrays["ids"].reshape(-1)
    live = arrays["weights"] > 0
    places, targets = arrays["places"][live], arrays["targets"][live]
    assert live.sum() > 40
    assert np.array_equal(ids[places + 1], targets)
    assert data.packer.special.im_end in targets
