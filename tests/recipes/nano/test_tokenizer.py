"""The tokenizer's corpus against the questions of the suite, which are written separately."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

from awares_edge.synth.canvas import COLOURS, SHAPES
from awares_edge.synth.generate import FAMILIES, HELD_BACK, generate
from awares_edge.synth.sample import Sample
from recipes.nano.tokenizer import QUESTIONS, build_tokenizer


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [
        generate("train", 1, i, family=family)
        for family in (*FAMILIES, *HELD_BACK)
        for i in range(80)
    ]


def wording(question: str) -> str:
    """A question with its variable words replaced by placeholders."""
    words = {**dict.fromkeys(COLOURS, "{c}"), **dict.fromkeys(SHAPES, "{s}")}
    general = re.sub(r"[a-z]+", lambda m: words.get(m[0], m[0]), question)
    return re.sub(r"field [A-Z]\b", "field A", general).replace(" an {c}", " a {c}")


def test_the_corpus_holds_exactly_the_wordings_of_the_suite(samples: list[Sample]) -> None:
    asked = {wording(q.text) for sample in samples for q in sample.questions}
    assert asked == {wording(q) for q in QUESTIONS}


def test_question_words_are_single_tokens_and_questions_come_back(samples: list[Sample]) -> None:
    tokenizer = build_tokenizer()
    asked = {q.text for sample in samples for q in (*sample.questions, *sample.drills)}
    split: dict[str, list[str]] = {}
    for text in asked:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
        pieces = re.findall(r" ?\w+|\?", text)
        assert "".join(pieces) == text
        for piece in pieces:
            tokens = tokenizer.encode(piece).tokens
            if len(tokens) > 1:
                split[piece] = tokens
        ids = [i for piece in pieces for i in tokenizer.encode(piece).ids]
        assert tokenizer.encode(text).ids == ids
    # A field's letter is text in the picture, so it is spelled, as codes are.
    assert split == {f" {letter}": ["Ġ", letter] for letter in "BCDEF"}
