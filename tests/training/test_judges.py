"""Judges: what counts as right, and which of two answers is better."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest

from awares_edge.errors import RuntimeUnavailable
from awares_edge.training import judges
from awares_edge.training.errors import TrainingError
from awares_edge.training.judges import (
    MINILM_INSTALL,
    AnlsJudge,
    ExactJudge,
    SemanticJudge,
    levenshtein,
    minilm_folder,
)

# Of sentence-transformers/all-MiniLM-L6-v2 as its authors publish it.
CHECKPOINTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def test_exact_ignores_case_and_white_space_alone() -> None:
    assert ExactJudge().score("", "Red ", "red") == 1.0
    assert ExactJudge().score("", "red", "reds") == 0.0
    assert ExactJudge().compare("", "a", "a", "a") == "tie"
    assert ExactJudge().compare("", "a", "a", "b") == "low"


def test_a_closer_look_is_needed_when_it_alone_gives_the_right_answer() -> None:
    assert ExactJudge().needs_zoom("", "a", "b", "a")
    assert not ExactJudge().needs_zoom("", "a", "b", "c")
    assert not ExactJudge().needs_zoom("", "a", "a", "a")


def test_anls_is_edit_similarity_and_nothing_below_a_half() -> None:
    assert levenshtein("kitten", "sitting") == 3
    anls = AnlsJudge()
    assert anls.score("", "abcd", "abcx") == 0.75
    assert anls.score("", "abcd", "axyz") == 0.0
    assert anls.score("", "", "") == 1.0


@pytest.fixture(scope="module")
def semantic() -> SemanticJudge:
    pytest.importorskip("transformers")
    try:
        return SemanticJudge()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))


def test_the_embedding_model_is_the_published_one() -> None:
    try:
        folder = minilm_folder()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    for name, expected in CHECKPOINTS.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


def test_semantic_ranks_same_paraphrase_related_unrelated(semantic: SemanticJudge) -> None:
    answers = (
        "The cat is asleep on the SOFA",
        "a cat sleeping on a couch",
        "an animal is resting",
        "quarterly revenue fell by a tenth",
    )
    scores = [semantic.score("", "the cat is asleep on the sofa", a) for a in answers]
    assert scores[0] == 1.0
    assert scores[1] > 0.7
    assert scores[3] < 0.3
    assert all(better > worse for better, worse in pairwise(scores))


@pytest.mark.parametrize("answer", ["K47", "?", "no", "\N{SNOWMAN}", "word " * 2000])
def test_semantic_scores_stay_between_0_and_1(semantic: SemanticJudge, answer: str) -> None:
    assert 0.0 <= semantic.score("", "a red car", answer) <= 1.0


def test_semantic_gives_an_empty_answer_nothing(semantic: SemanticJudge) -> None:
    assert semantic.score("", "a red car", " ") == 0.0
    assert semantic.score("", "", "a red car") == 0.0
    assert semantic.score("", "", " ") == 1.0


def test_semantic_labels_by_meaning(semantic: SemanticJudge) -> None:
    reference = "a red car"
    assert semantic.needs_zoom("", reference, "seven bananas", "the automobile is red")
    assert not semantic.needs_zoom("", reference, "the automobile is red", "seven bananas")
    assert not semantic.needs_zoom("", reference, "A red car", "the automobile is red")
    assert semantic.compare("", reference, "a red car", "red car") == "tie"


def test_semantic_embeds_a_text_once(semantic: SemanticJudge) -> None:
    semantic.embed.cache_clear()
    for _ in range(8):
        semantic.score("", "a green bus", "a blue bus")
    assert semantic.embed.cache_info().misses == 2


def test_without_the_model_the_error_names_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judges, "find_spec", lambda _: None)
    with pytest.raises(RuntimeUnavailable) as caught:
        SemanticJudge()
    assert MINILM_INSTALL in str(caught.value)
    assert "--judge-model" in str(caught.value)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(TrainingError, match="has no sentence-embedding model"):
        SemanticJudge(tmp_path)
