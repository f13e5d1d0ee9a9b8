"""The trained nano model decides in llama.cpp as it does in transformers."""

from pathlib import Path

import pytest

from tests.support.gguf import export_gguf

CHECKPOINT = Path(__file__).resolve().parents[3] / "checkpoints" / "nano"
QUESTIONS = 500

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHECKPOINT.is_dir(), reason="no checkpoints/nano: train it first"),
]


@pytest.fixture(scope="module")
def reference():
    import awares_edge
    from benchmarks.decisions import outcomes

    with awares_edge.load(CHECKPOINT, runtime="torch", protocol="nano", threads=1) as model:
        return outcomes(model, QUESTIONS, 0)


@pytest.mark.parametrize(("precision", "wanted"), [("f16", 0.995), ("q8_0", 0.98)])
def test_same_crop_decisions(reference, tmp_path, precision, wanted):
    import awares_edge
    from benchmarks.decisions import outcomes

    bundle = export_gguf(CHECKPOINT, tmp_path / precision, precision)
    with awares_edge.load(bundle, protocol="nano", threads=1) as model:
        ours = outcomes(model, QUESTIONS, 0)
    same = sum(a[0] == b[0] for a, b in zip(ours, reference, strict=True))
    assert same / QUESTIONS >= wanted
