"""What each stage trains and freezes, and in which precision."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from recipes.nano.config import build_model  # noqa: E402
from recipes.nano.language_stage import LanguageConfig, LanguageStage  # noqa: E402
from recipes.nano.stages import RECIPE, smoke_sized  # noqa: E402
from recipes.nano.vision_stage import VisionConfig, VisionStage  # noqa: E402

LANGUAGE = next(s for s in smoke_sized(RECIPE) if isinstance(s, LanguageConfig))


def test_a_language_stage_freezes_the_tower_and_the_vision_stage_trains_it_again() -> None:
    model = build_model(1)
    LanguageStage(model, LANGUAGE, compiled=False)
    assert not any(p.requires_grad for p in model.model.visual.parameters())
    stage = VisionStage(model, VisionConfig(fresh=False), compiled=False)
    before = [p.clone() for p in model.model.visual.parameters()]
    batch = [torch.from_numpy(x) for x in stage.data[0]]
    stage.loss(batch).backward()
    stage.optimizer.step(1.0)
    after = list(model.model.visual.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("kind", ["vision", "language"])
def test_weights_are_bf16_and_angles_and_pixel_scales_fp32(kind: str) -> None:
    model = build_model(1)
    stage = (
        VisionStage(model, VisionConfig(fresh=False), compiled=False)
        if kind == "vision"
        else LanguageStage(model, LANGUAGE, compiled=False)
    )
    assert {p.dtype for p in stage.module.parameters()} == {torch.bfloat16}
    assert {b.dtype for b in stage.module.buffers() if b.is_floating_point()} == {torch.float32}
    embedding = model.get_input_embeddings().weight
    assert model.get_output_embeddings().weight is embedding
