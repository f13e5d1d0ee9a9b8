"""The committed nano-box checkpoint, asked through the product with its own profile."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import awares_edge
from awares_edge import AskOptions
from awares_edge.evaluation.answers import is_right
from awares_edge.evaluation.synthetic import questions

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_it_calls_for_boxes_that_hold_the_evidence() -> None:
    profile = ROOT / "recipes" / "nano" / "box.toml"
    calls, held, right = 0, 0, 0
    with awares_edge.load(
        ROOT / "checkpoints" / "nano-box", runtime="torch", protocol=str(profile)
    ) as model:
        for _, image, chosen in questions("test", 0, 90):
            with model.open(image) as picture:
                for question in chosen:
                    if question.size != "small" or len(question.evidence) > 1:
                        continue
                    answer = picture.ask(question.text, AskOptions(max_new_tokens=24))
                    assert answer.call_status == "ok", answer.call_text
                    (crop,) = answer.crops
                    left, top, far, bottom = question.evidence[0]
                    calls += 1
                    held += (
                        crop.box[0] <= left
                        and crop.box[1] <= top
                        and crop.box[2] >= far
                        and crop.box[3] >= bottom
                    )
                    right += is_right(answer.text, question.answer)
    assert calls >= 20
    assert held / calls >= 0.8
    assert right / calls >= 0.8
