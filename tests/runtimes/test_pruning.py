"""Pruning of visual tokens: the counts, the positions, and what stays exactly as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import awares_edge  # noqa: E402
from awares_edge.errors import InputError  # noqa: E402
from awares_edge.evaluation.synthetic import evaluate  # noqa: E402
from awares_edge.runtimes.base import ImageSegment, TextSegment  # noqa: E402
from awares_edge.runtimes.pruning import prune, token_budget  # noqa: E402
from awares_edge.runtimes.torch_reference import TorchRuntime  # noqa: E402
from awares_edge.vision import Preprocessing, extract_patches  # noqa: E402
from awares_edge.vision.positions import image_positions  # noqa: E402
from tests.support.checkpoints import make_checkpoint  # noqa: E402

BEFORE, AFTER = TextSegment((3, 4, 5)), TextSegment((6, 7))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("pruning") / "checkpoint", "tied", seed=3)


@pytest.fixture(scope="module")
def runtime(checkpoint):
    return TorchRuntime.load(checkpoint)


@pytest.fixture(scope="module")
def patches():
    """A picture of 5 x 7 visual tokens, whose attention windows are cut at two edges."""
    pixels = np.random.default_rng(4).integers(0, 256, (140, 196, 3)).astype(np.uint8)
    return extract_patches(
        Image.fromarray(pixels), Preprocessing(), min_pixels=3136, max_pixels=1 << 20
    )


def logits(runtime, image):
    with runtime.open_session() as session:
        return session.prefill([BEFORE, ImageSegment(image), AFTER])


def attention_received(runtime, patches):
    """What each token receives in the last full-attention block, from transformers' own weights."""
    visual = runtime.model.model.visual
    implementation = visual.config._attn_implementation
    visual.config._attn_implementation = "eager"
    seen = []
    attention = visual.blocks[max(visual.fullatt_block_indexes)].attn
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as modeling

    own = modeling.eager_attention_forward

    def watched(module, *args, **kwargs):
        output, weights = own(module, *args, **kwargs)
        if module is attention:
            seen.append(weights)
        return output, weights

    try:
        modeling.eager_attention_forward = watched
        with torch.inference_mode():
            runtime.encode_image(patches)
    finally:
        modeling.eager_attention_forward = own
        visual.config._attn_implementation = implementation
    by_patch = seen[0][0].mean(0).mean(0)
    in_windows = by_patch.reshape(patches.grid.tokens, -1).sum(1)
    window = [
        (row // 4 * 2 + column // 4, row * 7 + column) for row in range(5) for column in range(7)
    ]
    order = [raster for _, raster in sorted(window)]
    received = torch.empty(patches.grid.tokens)
    received[order] = in_windows
    return received


def test_a_share_of_one_is_the_whole_model(runtime, patches):
    whole, same = runtime.encode_image(patches), runtime.pruned(1.0).encode_image(patches)
    assert same.kept is None
    assert torch.equal(whole.features, same.features)
    assert np.array_equal(logits(runtime, whole), logits(runtime.pruned(1.0), same))


def test_kept_tokens_are_those_that_receive_most_attention(runtime, patches):
    whole, image = runtime.encode_image(patches), runtime.pruned(0.5).encode_image(patches)
    dominant, contextual = token_budget(0.5, 35)
    assert (dominant, contextual) == (15, 3)
    wanted = attention_received(runtime, patches).topk(dominant).indices.sort().values
    assert len(image.kept) == image.tokens == len(image.features) == 18
    assert set(wanted.tolist()) <= set(image.kept.tolist())
    places = np.searchsorted(image.kept, wanted.numpy())
    torch.testing.assert_close(image.features[places], whole.features[wanted])


def test_a_kept_token_keeps_its_position_and_the_text_behind_it_too(runtime, patches):
    image = runtime.pruned(0.3).encode_image(patches)
    segment, whole = ImageSegment(image), ImageSegment(runtime.encode_image(patches))
    assert segment.cells == len(image.kept) == round(0.3 * 35)
    assert np.array_equal(segment.positions(9), image_positions(9, patches.grid)[:, image.kept])
    assert segment.advance == whole.advance == 7
    with runtime.open_session() as session:
        session.prefill([BEFORE, segment, AFTER])
        assert session.cells == 3 + segment.cells + 2
        assert session.position == 3 + 7 + 2


def test_other_tokens_than_the_kept_ones_do_not_matter(runtime, patches):
    """The same logits as transformers gives for the same embeddings at the same positions."""
    image = runtime.pruned(0.4).encode_image(patches)
    model = runtime.model
    text = model.get_input_embeddings()
    embeds = torch.cat(
        [text(torch.tensor(BEFORE.ids)), image.features, text(torch.tensor(AFTER.ids))]
    )
    positions = np.concatenate(
        [
            np.tile(np.arange(3), (3, 1)),
            image_positions(3, patches.grid)[:, image.kept],
            np.tile(np.arange(10, 12), (3, 1)),
        ],
        axis=1,
    )
    with torch.inference_mode():
        states = model.model.language_model(
            inputs_embeds=embeds[None], position_ids=torch.from_numpy(positions)[:, None]
        ).last_hidden_state
        wanted = model.lm_head(states[0, -1])
    assert np.abs(logits(runtime, image)[0] - wanted.numpy()).max() < 1e-5


def test_features_of_a_group_are_averaged():
    features = torch.arange(12.0).reshape(6, 2)
    attention = torch.tensor([0.1, 0.9, 0.2, 0.3, 0.8, 0.1])
    near, far = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    keys = torch.stack([near, near, far, far, near, near])
    # Of tokens 0, 2, 3 and 5, 0 and 3 are the ones to merge into.
    kept, merged = prune(features, attention, keys, dominant=2, contextual=2)
    assert kept.tolist() == [0, 1, 3, 4]
    wanted = [features[[0, 5]].mean(0), features[1], features[[2, 3]].mean(0), features[4]]
    assert torch.equal(merged, torch.stack(wanted))


@given(st.floats(0.001, 1.0), st.integers(1, 20_000))
def test_the_budget_is_kept(share, tokens):
    dominant, contextual = token_budget(share, tokens)
    assert dominant + contextual == max(1, min(tokens, round(share * tokens)))
    assert dominant >= 1
    assert contextual >= 0


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_out_of_range(runtime, share):
    with pytest.raises(InputError, match="must be above 0 and at most 1"):
        runtime.pruned(share)


def test_an_evaluation_counts_the_tokens_that_are_left(checkpoint):
    with awares_edge.load(checkpoint, runtime="torch", protocol="nano") as model:
        full, whole, pruned = (
            evaluate(model, mode, limit=3) for mode in ("full", "prune:1", "prune:0.375")
        )
    assert [o.answer for o in whole.outcomes] == [o.answer for o in full.outcomes]
    assert whole.to_dict()["rtr"] == 1.0
    assert {(o.visual_tokens, o.full_tokens) for o in pruned.outcomes} == {(24, 64)}


def test_other_runtimes_say_that_they_cannot_prune():
    with (
        awares_edge.scripted() as model,
        pytest.raises(InputError, match="needs the torch runtime"),
    ):
        evaluate(model, "prune:0.5", limit=1)


@pytest.mark.parametrize("mode", ["prune", "prune:", "prune:0", "prune:2", "prune:nan", "prune:x"])
def test_a_mode_without_a_share(mode):
    with awares_edge.scripted() as model, pytest.raises(InputError, match="prune:R"):
        evaluate(model, mode, limit=1)
