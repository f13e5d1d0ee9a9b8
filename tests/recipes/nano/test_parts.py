"""Tokenizer, optimiser, windows and auxiliary targets of the nano recipe."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from awares_edge.protocol import get_profile  # noqa: E402
from awares_edge.synth.canvas import COLOURS, SHAPES  # noqa: E402
from awares_edge.synth.text import Glyph  # noqa: E402
from awares_edge.vision import Preprocessing, extract_patches  # noqa: E402
from recipes.nano.aux_targets import ALPHABET, glyph_slots  # noqa: E402
from recipes.nano.config import SPECIAL_IDS, VOCAB, build_model  # noqa: E402
from recipes.nano.optim import MixedOptimizer, orthogonalise  # noqa: E402
from recipes.nano.patches import window_order, window_patches  # noqa: E402
from recipes.nano.tokenizer import build_tokenizer  # noqa: E402


def test_tokenizer_spells_codes_and_keeps_question_words_whole() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.get_vocab_size() == VOCAB
    assert tokenizer.encode("K47").tokens == ["K", "4", "7"]
    assert len(tokenizer.encode("SALES").ids) == 5
    for word in [*COLOURS, *SHAPES]:
        assert len(tokenizer.encode(" " + word).ids) == 1
        assert len(tokenizer.encode(word).ids) == 1
    text = get_profile("nano").system + " ü 汉\n"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    for name, i in SPECIAL_IDS.items():
        assert tokenizer.encode(name).ids == [i]


def test_calls_survive_the_tokenizer() -> None:
    tokenizer, call = build_tokenizer(), get_profile("nano").call
    for ids in (["0"], ["0", "3"], ["all"]):
        text = call.render(ids)
        back = tokenizer.decode(tokenizer.encode(text).ids)
        assert call.parse(back).ids == tuple(ids)


def test_window_patches_hold_the_pixels_of_extract_patches() -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (224, 112, 3)).astype(np.uint8)
    windows = window_patches(picture).reshape(2 * 16, 4, 588)
    whole = extract_patches(
        Image.fromarray(picture), Preprocessing(), min_pixels=3136, max_pixels=224 * 224
    )
    mean = np.repeat(np.array(Preprocessing().image_mean), 196)
    std = np.repeat(np.array(Preprocessing().image_std), 196)
    expected = (windows[window_order(2, 1)].reshape(-1, 588) / 255 - mean) / std
    pixels = whole.pixels.reshape(-1, 3, 2, 196)
    assert np.allclose(pixels[:, :, 0].reshape(-1, 588), expected, atol=1e-5)
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 1])


def test_glyph_slots_by_hand() -> None:
    slots = glyph_slots([Glyph("A", 1, 1, 9), Glyph("9", 55, 27, 9), Glyph("B", 60, 5, 9)], 56, 28)
    assert slots.shape == (1, 2, 12)
    assert slots[0, 0, 0] == ALPHABET.index("A") + 1
    assert slots[0, 1, 11] == ALPHABET.index("9") + 1
    assert np.count_nonzero(slots) == 2


def test_orthogonalise_flattens_singular_values() -> None:
    torch.manual_seed(0)
    for shape in ((2, 32, 80), (1, 80, 32)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.4


@pytest.mark.parametrize("kind", ["muon", "adam"])
def test_optimizer_learns_and_resumes_bit_for_bit(kind: str) -> None:
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0)).bfloat16()

    def fresh() -> tuple[torch.nn.Module, MixedOptimizer]:
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(16, 24), torch.nn.Linear(24, 16)).bfloat16()
        # Auxiliary heads go to AdamW.
        prefix = "aux." if kind == "adam" else ""
        named = [(prefix + name, p) for name, p in model.named_parameters()]
        return model, MixedOptimizer(named, lr=0.02, adam_ratio=0.5)

    def run(model: torch.nn.Module, opt: MixedOptimizer, steps: int) -> float:
        loss = torch.tensor(0.0)
        for _ in range(steps):
            loss = (model(x) - x.flip(1)).float().pow(2).mean()
            loss.backward()
            opt.clip(1.0)
            opt.step(1.0)
        return float(loss.detach())

    model, opt = fresh()
    first = run(model, opt, 1)
    last = run(model, opt, 59)
    assert last < first * 0.7

    half, opt_half = fresh()
    run(half, opt_half, 30)
    state = opt_half.state_dict()
    resumed, opt_resumed = fresh()
    opt_resumed.load_state_dict(state)
    run(resumed, opt_resumed, 30)
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_nano_model_is_small_enough() -> None:
    count = sum(p.numel() for p in build_model(0).parameters())
    assert count < 6_000_000
