"""Constrained, drafted decoding makes the model's own decisions.

The model here is a random one with a liking for calls: its logits are a hash of what was said, with
a push towards the next character of some call-like texts.
"""

import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from awares_edge.controller.decoding import Generated, Limits, TurnDecoder
from awares_edge.controller.trace import TurnTrace
from awares_edge.protocol import PROFILES, CallTokens, parse_call
from awares_edge.runtimes.base import Session, TextSegment
from awares_edge.runtimes.null import byte_tokenizer

TOKENIZER = byte_tokenizer()
SPECIAL = TOKENIZER.special_tokens()
CALL = CallTokens.build(TOKENIZER, SPECIAL, PROFILES["paper"])

call_like = st.sampled_from(
    [
        "GET_CROPS: ['3']",
        "GET_CROPS: ['0', '5']",
        "GET_CROPS: ['0', '5', '8']",
        "GET_CROPS: ['all']",
        'GET_CROPS: ["2"]',
        "GET_CROPS:['3']",
        "GET_CROPS [3]",
        "GET_CROPS: ['top-left']",
        "GET_CROPS: ['9']",
        "GET_CROPS: ['3', '3']",
        "GET_CROPS: []",
        "GET_CROPS: ['3'] please",
        "GET_CROP",
        "GET OUT",
        "42",
    ]
)


class Opinionated(Session):
    """Random logits that lean towards `texts`; counts what it computes."""

    def __init__(self, seed, texts, push):
        super().__init__(context=4096, vocabulary=TOKENIZER.vocabulary)
        self.seed, self.push = seed, push
        self.texts = [[*TOKENIZER.encode(text), SPECIAL.im_end] for text in texts]
        self.ids, self.steps = [], 0

    def logits(self, said):
        key = zlib.crc32(repr((self.seed, said)).encode())
        row = np.random.default_rng(key).normal(size=TOKENIZER.vocabulary).astype(np.float32)
        for rank, text in enumerate(self.texts):
            if len(said) < len(text) and text[: len(said)] == said:
                row[text[len(said)]] += self.push / (1 + rank)
        return row

    def _forward(self, piece):
        self.steps += 1
        for part in piece.parts:
            self.ids += part.ids
        ends = range(len(self.ids) - piece.keep + 1, len(self.ids) + 1)
        return np.stack([self.logits(self.ids[1:end]) for end in ends])

    def _truncate(self, cells):
        del self.ids[cells:]

    def _fork(self):
        raise NotImplementedError

    def _close(self):
        pass


def decode(seed, texts, push, *, draft, constrain, allow_call=True):
    session = Opinionated(seed, texts, push)
    logits = session.prefill([TextSegment((0,))])[0]
    session.steps = 0
    decoder = TurnDecoder(session, TOKENIZER, SPECIAL, CALL, draft=draft, constrain=constrain)
    trace = TurnTrace()
    *pieces, generated = decoder.run(logits, Limits(60), trace, allow_call=allow_call)
    assert isinstance(generated, Generated)
    return generated, "".join(pieces), session, trace


models = (
    st.integers(0, 10_000),
    st.lists(call_like, min_size=1, max_size=3),
    st.sampled_from([5, 50]),
)


@settings(max_examples=300)
@given(*models)
def test_where_free_decoding_gives_a_valid_call_constrained_decoding_gives_the_same(
    seed, texts, push
):
    free, *_ = decode(seed, texts, push, draft=False, constrain=False)
    held, *_ = decode(seed, texts, push, draft=True, constrain=True)
    if parse_call(free.text).status == "ok" and free.ended:
        assert held.ids == free.ids
        assert held.ended
    if not free.text.startswith("GET_CROPS"):
        assert held.ids == free.ids


@settings(max_examples=300)
@given(*models, st.booleans())
def test_drafting_changes_no_decision(seed, texts, push, constrain):
    plain, shown, *_ = decode(seed, texts, push, draft=False, constrain=constrain)
    drafted, also_shown, session, _ = decode(seed, texts, push, draft=True, constrain=constrain)
    assert drafted.ids == plain.ids
    assert (drafted.text, drafted.ended) == (plain.text, plain.ended)
    assert shown == also_shown
    # What is in the cache is exactly what was generated.
    cached = [*drafted.ids, *([SPECIAL.im_end] if drafted.end_cached else [])]
    assert session.ids[1:] == cached[: len(cached) - len(drafted.uncached)]


@settings(max_examples=200)
@given(*models)
def test_a_call_that_has_begun_ends_as_a_valid_call(seed, texts, push):
    held, *_ = decode(seed, texts, push, draft=True, constrain=True)
    if held.text.startswith("GET_CROPS") and held.ended:
        assert parse_call(held.text).status == "ok"


@settings(max_examples=200)
@given(*models)
def test_where_no_call_is_allowed_none_is_made_and_none_is_shown(seed, texts, push):
    held, shown, *_ = decode(seed, texts, push, draft=True, constrain=True, allow_call=False)
    assert not held.text.startswith("GET_CROPS")
    assert "GET_CROPS" not in shown


def test_a_call_costs_one_step_a_decision():
    _, _, session, trace = decode(1, ["GET_CROPS: ['3']"], 50, draft=True, constrain=True)
    # To call; which crop; that there is no other: two steps, because the first needs none.
    assert session.steps == 2
    assert trace.discarded_tokens == 0
    _, _, plain, _ = decode(1, ["GET_CROPS: ['3']"], 50, draft=False, constrain=True)
    assert plain.steps == len("GET_CROPS: ['3']")
