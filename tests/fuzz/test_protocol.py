"""Generated text: whatever a model says is an answer, a call, or invalid."""

import numpy as np
import pytest

import awares_edge
from awares_edge import PROFILES, AskOptions, TextDelta
from awares_edge.protocol import CROP_NAMES

WORDS = [
    *("GET_CROPS", "GET_CROPS: [", "GET_CROPS [", "get_crops", "GET", "CROPS", "_", ": ", ":", " "),
    *("[", "]", "['", "']", "', '", "'", '"', ",", ", ", "(", ")", "\n", "\t", "0", "5", "9", "10"),
    *CROP_NAMES,
    *CROP_NAMES.values(),
    *("Top-Left", "top left", "red", "The sign", "é", "\u017f", "\u2028", "\x00", "日本", "٣"),
]


def text_of(random, longest=12):
    """Words of calls and of answers; now and then a very long repetition."""
    text = "".join(random.choices(WORDS, k=random.randrange(longest)))
    if random.random() < 0.05:
        text = mutated(random, PROFILES["paper"].call.render(random.sample("012345678", 3)))
    if random.random() < 0.01:
        text = random.choice(["", text]) + random.choice(WORDS) * random.randrange(5000) + text
    return text


def mutated(random, text):
    for _ in range(random.randrange(3)):
        at = random.randrange(len(text))
        text = text[:at] + random.choice(["", *WORDS]) + text[at + random.randrange(3) :]
    return text


class Calls:
    """Parser, grammar and the rule of where a call begins agree."""

    def __init__(self, folder):
        self.formats = [profile.call for profile in PROFILES.values()]

    def case(self, random):
        return random.randrange(len(self.formats)), text_of(random)

    def check(self, case):
        call, text = self.formats[case[0]], case[1]
        read = call.parse(text)
        assert bool(read.ids) == (read.status in ("ok", "repaired"))
        assert len(set(read.ids)) == len(read.ids)
        assert set(read.ids) <= set(call.offered)
        assert (read.status == "ok") == call.grammar.complete(text.strip())
        start = call.call_start(text)
        assert (start is None) == (read.status == "none")
        assert call.find(text) is None or call.find(text) >= start
        ends = [*range(0, min(len(text), 80), 4), len(text)]
        certain = [call.certain(text[:end]) for end in ends]
        assert certain == sorted(certain)
        assert start is None or certain[-1] <= start
        return read.status


class Replies:
    """A whole question: no reply breaks the loop, and no part of a call is shown."""

    def __init__(self, folder):
        self.image = np.zeros((224, 280, 3), np.uint8)

    def case(self, random):
        replies = [[text_of(random, 6)[:200] for _ in range(3)] for _ in range(2)]
        mode = random.choice(["awares", "awares", "low", "full"])
        options = AskOptions(
            mode=mode,
            max_new_tokens=random.choice([1, 7, 300]),
            constrain=random.random() < 0.7,
            crops=("3",) if mode == "awares" and random.random() < 0.1 else (),
        )
        return random.choice(list(PROFILES)), replies, options

    def check(self, case):
        protocol, replies, options = case
        with awares_edge.scripted(replies, protocol=protocol) as model:
            with model.open(self.image) as picture:
                *events, answer = picture.stream("What?", options)
            shown = "".join(event.text for event in events if isinstance(event, TextDelta))
            call = model.protocol.call
            assert call.parse(answer.text).status == "none"
            assert call.first_sign(shown) is None
            if answer.finish == "stop":
                assert shown.strip().endswith(answer.text)
                assert answer.crops or shown.strip() == answer.text
            assert (answer.call_status == "none") == (answer.call_text == "")
            return f"{answer.call_status} with {len(answer.crops)} crops"


@pytest.mark.fuzz
@pytest.mark.parametrize(("target", "cases"), [(Calls, 200_000), (Replies, 3_000)])
def test_generated_text(check, target, cases):
    check(target, cases)
