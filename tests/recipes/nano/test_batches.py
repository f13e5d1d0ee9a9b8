"""Which pictures and questions go into a batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given
from hypothesis import strategies as st

from awares_edge.synth.sample import Question, Sample
from recipes.nano import batches
from recipes.nano.batches import Batches, Mix, mixed
from recipes.nano.language_stage import LanguageConfig
from recipes.nano.stages import EXTRA, RECIPE
from recipes.nano.views import Slots

SIZES = ("small", "large", "none")


def pool(sizes: list[str]) -> list[Question]:
    return [
        Question(f"question {i}", "answer", "kind", ((0, 0, 9, 9),), size)  # type: ignore[arg-type]
        for i, size in enumerate(sizes)
    ]


@given(st.lists(st.sampled_from(SIZES), max_size=12), st.integers(0, 14), st.integers(0, 2**32))
def test_questions_come_once_and_as_many_as_there_are(
    sizes: list[str], count: int, seed: int
) -> None:
    questions = pool(sizes)
    chosen = mixed(np.random.default_rng(seed), questions, count, (0.4, 0.3, 0.3))
    assert len(chosen) == min(count, len(questions))
    assert len({q.text for q in chosen}) == len(chosen)


def test_the_first_question_follows_the_weights() -> None:
    rng = np.random.default_rng(0)
    questions = pool(["small"] * 2 + ["large"] * 2 + ["none"] * 8)
    first = Counter(mixed(rng, questions, 1, (0.5, 0.3, 0.2))[0].size for _ in range(2000))
    for size, share in zip(SIZES, (0.5, 0.3, 0.2), strict=True):
        assert first[size] / 2000 == pytest.approx(share, abs=0.05)


def test_evidence_in_several_places_comes_first_in_half_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    several = Question("both", "answer", "two labels", ((0, 0, 9, 9), (99, 99, 108, 108)), "small")
    questions = [*pool(["small"] * 9), several]
    first = [mixed(rng, questions, 1, (1.0, 1.0, 1.0))[0].text == "both" for _ in range(2000)]
    # Half of the rows, and a tenth of the others by chance.
    assert np.mean(first) == pytest.approx(0.55, abs=0.04)


def drawn(monkeypatch: pytest.MonkeyPatch, mix: Mix, i: int) -> list[tuple[str, int]]:
    """Family and number of objects (0: its own) of the pictures of batch ``i``."""
    pictures: list[tuple[str, int]] = []
    real = batches.generate

    def spied(*args: int, family: str | None, limit: int) -> Sample:
        sample = real(*args, family=family, limit=limit)  # type: ignore[arg-type]
        pictures.append((sample.family, limit))
        return sample

    with monkeypatch.context() as patched:
        patched.setattr(batches, "generate", spied)
        _ = Batches("train", 1, Slots(pictures=42), mix)[i]
    return pictures


def easy_share(monkeypatch: pytest.MonkeyPatch, mix: Mix, i: int) -> float:
    """Share of pictures of few objects in batch ``i``."""
    limits = [limit for _, limit in drawn(monkeypatch, mix, i)]
    assert set(limits) <= {0, 1, 2, 3}
    return sum(limit > 0 for limit in limits) / len(limits)


def test_the_share_of_documents_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    for share, wanted in ((0.0, 1 / 3), (0.4, 0.6), (1.0, 1.0)):
        families = [family for family, _ in drawn(monkeypatch, Mix(documents=share), 0)]
        assert families.count("document") / len(families) == pytest.approx(wanted, abs=0.15)


def test_the_share_of_easy_pictures_falls_to_its_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    mix = Mix(easy_start=0.9, easy_steps=100, easy_floor=0.2)
    shares = [easy_share(monkeypatch, mix, i) for i in (0, 50, 100)]
    assert shares == pytest.approx([0.9, 0.45, 0.2], abs=0.15)
    assert easy_share(monkeypatch, Mix(), 0) == 0


def test_only_the_reading_stage_draws_easy_pictures() -> None:
    stages = [s for s in (*RECIPE, *EXTRA) if isinstance(s, LanguageConfig)]
    shares = {s.name: max(s.mix.easy_start, s.mix.easy_floor) for s in stages}
    others = ("policy", "reader", "documents", "outcomes", "boxes")
    assert shares == {"reading": 0.9, **dict.fromkeys(others, 0.0)}
