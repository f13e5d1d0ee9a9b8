"""The trained nano model decides in llama.cpp as it does in transformers."""

from pathlib import Path

import pytest

from awares_edge import AskOptions
from awares_edge.evaluation.synthetic import questions
from tests.support.gguf import export_gguf

CHECKPOINT = Path(__file__).resolve().parents[3] / "checkpoints" / "nano"
QUESTIONS = 500

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHECKPOINT.is_dir(), reason="no checkpoints/nano: train it first"),
]


def decisions(model):
    """The crops that the model calls for, question by question."""
    found = []
    for _, image, asked in questions("test", 0, QUESTIONS):
        with model.open(image) as picture:
            for question in asked:
                answer = picture.ask(question.text, AskOptions(max_new_tokens=24))
                found.append([crop.id for crop in answer.crops])
    return found


@pytest.fixture(scope="module")
def reference():
    import awares_edge

    with awares_edge.load(CHECKPOINT, runtime="torch", protocol="nano", threads=1) as model:
        return decisions(model)


@pytest.mark.parametrize(("precision", "wanted"), [("f16", 0.995), ("q8_0", 0.98)])
def test_same_crop_decisions(reference, tmp_path, precision, wanted):
    import awares_edge

    bundle = export_gguf(CHECKPOINT, tmp_path / precision, precision)
    with awares_edge.load(bundle, protocol="nano", threads=1) as model:
        ours = decisions(model)
    assert len(ours) == QUESTIONS
    assert sum(a == b for a, b in zip(ours, reference, strict=True)) / QUESTIONS >= wanted
