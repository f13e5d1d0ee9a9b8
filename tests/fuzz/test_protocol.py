"""Generated text: whatever a model says is an answer, a call, or invalid."""

import json
import time

import numpy as np
import pytest

import awares_edge
from awares_edge import PROFILES, AskOptions, TextDelta
from awares_edge.protocol import CROP_NAMES
from awares_edge.protocol.reading import read_reply

CROPS = [name for name, profile in PROFILES.items() if profile.tool.syntax == "crops"]
LONGEST_CASE = 0.1
"""Seconds that reading one reply may take."""

WORDS = [
    *("GET_CROPS", "GET_CROPS: [", "GET_CROPS [", "get_crops", "GET", "CROPS", "_", ": ", ":", " "),
    *("[", "]", "['", "']", "', '", "'", '"', ",", ", ", "(", ")", "\n", "\t", "0", "5", "9", "10"),
    *CROP_NAMES,
    *CROP_NAMES.values(),
    *("Top-Left", "top left", "red", "The sign", "é", "\u017f", "\u2028", "\x00", "日本", "٣"),
]
PIECES = [
    *("<tool_call>", "</tool_call>", "<grounding>", "</grounding>", "<zoom>", "</zoom>", "</", "<"),
    *(
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "<|im_end|>",
        "\\boxed{",
        "}",
        "{",
        "}}",
        "{}",
    ),
    *('"bbox_2d": ', '"bbox_2d":', '"source": ', '"source":', '"target_image": ', '"name": '),
    *('"arguments": {', '"action": "resize"', '"label": "a\\u00e9\\"b"', '"original_image"'),
    *(
        "'original_image'",
        '"observation_1"',
        "[10, 20, 110, 220]",
        "[0.1, 0.2, 0.4, 0.6]",
        "[.5, 5., +1, 1e2,]",
        "1",
    ),
    *("[1, 2, 3]", "[NaN, 0, 1, 1]", "[-Infinity, 0, 1e999, 1]", "true", "null", "-0", "1e-320"),
    *(
        "[[[[[[[[[[",
        "]]]]]]]]]]",
        "```json\n",
        "```",
        ", ",
        ",",
        ":",
        '"',
        "\\",
        "\n",
        "\r",
        " ",
        "é",
    ),
    *("\ud800", "\u2028", "\x00", "٣", "red", "0" * 21, "9" * 20, "[٣, ٣, ٣, ٣]", "'", "1.0"),
]


def text_of(random, longest=12):
    """Words of calls and of answers; now and then a very long repetition."""
    text = "".join(random.choices(WORDS, k=random.randrange(longest)))
    if random.random() < 0.05:
        text = mutated(random, PROFILES["paper"].crop_call(random.sample("012345678", 3)), WORDS)
    if random.random() < 0.01:
        text = random.choice(["", text]) + random.choice(WORDS) * random.randrange(5000) + text
    return text


def tagged_text(random, call, longest=12):
    """Pieces of calls between tags; mostly damaged calls, some of them in their thoughts."""
    what = random.random()
    if what < 0.6:
        text = call.render(*box_of(random))
        text = mutated(random, text, PIECES) if what < 0.5 else text
        text = text[: random.randrange(len(text) + 1)] if random.random() < 0.2 else text
    else:
        text = "".join(random.choices(PIECES, k=random.randrange(longest)))
        if what < 0.8:
            text = f"{call.tool.opening}{text}{call.tool.closing}"
    if random.random() < 0.2:
        text = f"<think>{text}</think>{random.choice(['', text, '<answer>7</answer>'])}"
    if random.random() < 0.01:
        text += random.choice(PIECES) * random.randrange(5000) + text
    return text


def box_of(random):
    numbers = [random.choice([0, 1, 28, 29, 300, -5, 0.5, 1e-3, 1e8, 1e9]) for _ in range(3)]
    box = random.choice(["10, 20, 110, 220", "0.1,0.2,0.4,0.6", json.dumps([*numbers, 640])[1:-1]])
    return box, random.choice(["", "", "observation_1", "2", "x"])


def mutated(random, text, words):
    for _ in range(random.randrange(3)):
        at = random.randrange(len(text) + 1)
        text = text[:at] + random.choice(["", *words]) + text[at + random.randrange(3) :]
    return text


def check_shown(call, text):
    """Text that is certain stays certain and is not part of a call; where the call begins."""
    start = call.call_start(text)
    ends = [*range(0, min(len(text), 80), 4), len(text)]
    certain = [call.certain(text[:end]) for end in ends]
    assert certain == sorted(certain)
    assert start is None or certain[-1] <= start
    return start


class Calls:
    """Crop lists: parser, grammar and the rule of where a call begins agree."""

    def __init__(self, folder):
        self.formats = [PROFILES[name].call for name in CROPS]

    def case(self, random):
        return random.randrange(len(self.formats)), text_of(random)

    def check(self, case):
        call, text = self.formats[case[0]], case[1]
        read = call.parse(text)
        assert bool(read.ids) == (read.status in ("ok", "repaired"))
        assert len(set(read.ids)) == len(read.ids)
        assert set(read.ids) <= set(call.offered)
        assert (read.status == "ok") == call.grammar.complete(text.strip())
        start = check_shown(call, text)
        assert (start is None) == (read.status == "none")
        assert call.find(text) is None or call.find(text) >= start
        return read.status


class Tagged:
    """Calls between tags: parser and grammar agree, and every valid call can be generated."""

    syntax = "json"

    def __init__(self, folder):
        self.profiles = [p for p in PROFILES.values() if p.tool.syntax == self.syntax]
        self.calls = [profile.call for profile in self.profiles]

    def case(self, random):
        index = random.randrange(len(self.calls))
        return index, tagged_text(random, self.calls[index])

    def check(self, case):
        call, text = self.calls[case[0]], case[1]
        begun = time.process_time()
        read = call.parse(text)
        assert bool(read.requests) == (read.status in ("ok", "repaired"))
        assert bool(read.problem) == (read.status == "invalid")
        reply = read_reply(self.profiles[case[0]], text, (640, 480), pictures=[(640, 480)] * 2)
        json.dumps(reply)
        assert time.process_time() - begun < LONGEST_CASE
        for region in reply["regions"]:
            left, top, right, bottom = region["box"]
            assert 0 <= left < right <= 640
            assert 0 <= top < bottom <= 480
            assert min(region["size"]) >= 1
        start = check_shown(call, text)
        assert start is not None or read.status in ("none", "invalid")
        return f"{read.status}, {self.generated(call, text)}"

    def generated(self, call, text):
        """From its opening tag to the first closing one, as constrained decoding sees it."""
        start = call.find(text)
        if start is None:
            return "no call"
        stop = text.find(call.tool.closing, start)
        if stop < 0:
            return "cut off"
        one = text[start : stop + len(call.tool.closing)]
        valid = call.parse(one).status in ("ok", "repaired")
        assert call.grammar.complete(one) == valid
        assert call.grammar.viable(one) == valid
        if valid:
            for end in range(len(one)):
                assert call.grammar.viable(one[:end]), one[:end]
        return "valid" if valid else "no valid call"


class Lists(Tagged):
    syntax = "list"


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
        return random.choice(CROPS), replies, options

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
@pytest.mark.parametrize(
    ("target", "cases"),
    [(Calls, 200_000), (Tagged, 200_000), (Lists, 200_000), (Replies, 3_000)],
)
def test_generated_text(check, target, cases):
    check(target, cases)
