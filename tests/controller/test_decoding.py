"""Constrained, drafted decoding makes the model's own decisions.

The model here is a random one with a liking for calls: its logits are a hash of what was said, with
a push towards the next character of some call-like texts.
"""

import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from awares_edge.controller.decoding import TurnDecoder
from awares_edge.controller.generated import Generated, Limits
from awares_edge.controller.trace import TurnTrace
from awares_edge.protocol import PROFILES, CallTokens
from awares_edge.runtimes.base import Session, TextSegment
from awares_edge.runtimes.null import byte_tokenizer

TOKENIZER = byte_tokenizer()
SPECIAL = TOKENIZER.special_tokens()
FORMAT = PROFILES["paper"].call
CALL = CallTokens.build(TOKENIZER, SPECIAL, FORMAT)

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
        "GET_CROPS_NOW",
        " GET_CROPS: ['3']",
        "\nGET_CROPS: ['9']",
        "I look. GET_CROPS: ['3']",
        "WGET_CROPS: ['3']",
        "get_crops: ['3']",
        "GET2']",
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


def make(seed, texts, push, *, draft, constrain):
    session, trace = Opinionated(seed, texts, push), TurnTrace()
    logits = session.prefill([TextSegment((0,))])[0]
    session.steps = 0
    decoder = TurnDecoder(
        session,
        TOKENIZER,
        SPECIAL,
        CALL,
        logits=logits,
        limits=Limits(60),
        trace=trace,
        use_drafts=draft,
        constrain=constrain,
    )
    return decoder, session, trace


def decode(seed, texts, push, *, draft, constrain, allow_call=True):
    decoder, session, trace = make(seed, texts, push, draft=draft, constrain=constrain)
    *pieces, generated = decoder.run(allow_call=allow_call)
    assert isinstance(generated, Generated)
    return generated, "".join(pieces), session, trace


models = (
    st.integers(0, 10_000),
    st.lists(call_like, min_size=1, max_size=3),
    st.sampled_from([5, 50]),
)


@settings(max_examples=150)
@given(*models)
def test_where_free_decoding_gives_a_valid_call_constrained_decoding_gives_the_same(
    seed, texts, push
):
    free, *_ = decode(seed, texts, push, draft=False, constrain=False)
    held, *_ = decode(seed, texts, push, draft=True, constrain=True)
    if FORMAT.parse(free.text).status == "ok" and free.ended:
        assert held.ids == free.ids
        assert held.ended
    if "GET_CROPS" not in free.text:
        assert held.ids == free.ids


@settings(max_examples=150)
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


@settings(max_examples=100)
@given(*models)
def test_a_call_that_has_begun_ends_as_a_valid_call(seed, texts, push):
    held, *_ = decode(seed, texts, push, draft=True, constrain=True)
    start = FORMAT.find(held.text)
    if start is not None and held.ended and FORMAT.grammar.viable(held.text[start:]):
        assert FORMAT.grammar.complete(held.text[start:])
        assert FORMAT.parse(held.text[start:]).status == "ok"


@settings(max_examples=150)
@given(*models, st.booleans())
def test_where_no_call_is_allowed_none_is_made_and_none_is_shown(seed, texts, push, constrain):
    held, shown, *_ = decode(seed, texts, push, draft=True, constrain=constrain, allow_call=False)
    assert FORMAT.parse(held.text).status == "none"
    assert held.text.rstrip("\ufffd").startswith(shown)
    if held.ended:
        assert shown == held.text.rstrip("\ufffd")


@settings(max_examples=150)
@given(*models, st.booleans())
def test_no_part_of_a_call_is_ever_shown(seed, texts, push, constrain):
    held, shown, *_ = decode(seed, texts, push, draft=True, constrain=constrain)
    start = FORMAT.call_start(held.text)
    assert held.text[:start].startswith(shown)


@settings(max_examples=100)
@given(*models)
def test_a_call_that_is_taken_back_leaves_what_was_shown(seed, texts, push):
    """The stream goes on where the call began; the cache holds what was generated in the end."""
    decoder, session, trace = make(seed, texts, push, draft=True, constrain=False)
    *first, call = decoder.run(allow_call=True)
    if FORMAT.parse(call.text).status == "none":
        return
    *second, answer = decoder.run_without_call()
    assert FORMAT.parse(answer.text).status == "none"
    assert answer.text.rstrip("\ufffd").startswith("".join([*first, *second]))
    assert session.ids[1:] == list(answer.ids[: len(answer.ids) - len(answer.uncached)])
    assert trace.discarded_tokens > 0


def test_a_call_costs_one_step_a_decision():
    _, _, session, trace = decode(1, ["GET_CROPS: ['3']"], 50, draft=True, constrain=True)
    # To call; which crop; that there is no other: two steps, because the first needs none.
    assert session.steps == 2
    assert trace.discarded_tokens == 0
    _, _, plain, _ = decode(1, ["GET_CROPS: ['3']"], 50, draft=False, constrain=True)
    assert plain.steps == len("GET_CROPS: ['3']")
