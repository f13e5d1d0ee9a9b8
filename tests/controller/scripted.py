"""Questions to a scripted model: what the tests of the loop share."""

import re

import numpy as np
from PIL import Image

import awares_edge
from awares_edge import AskOptions, TextDelta
from awares_edge.protocol.tokenizer import IM_END, IM_START

CALL = "GET_CROPS: ['3']"
IMAGE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (448, 560, 3), dtype=np.uint8))
FULL, LOW, QUADRANT = 20 * 16, 10 * 8, 10 * 8


def ask(*replies, question="What?", protocol="paper", image=IMAGE, **options):
    model = awares_edge.scripted(replies, protocol=protocol)
    return model.ask(image, question, AskOptions(**options))


def pieces_of(*replies, **options):
    """What a stream shows, and its answer."""
    with awares_edge.scripted(replies).open(IMAGE) as picture:
        *events, answer = picture.stream("What?", AskOptions(**options))
    return "".join(e.text for e in events if isinstance(e, TextDelta)), answer


def context_of(picture, view="low"):
    """What the cache of a picture's conversation holds, as text; <image> for a picture."""
    tokenizer = picture.views.model.tokenizer
    special = tokenizer.special_tokens()
    names = {special.im_start: IM_START, special.im_end: IM_END, -1: "<image>"}
    names |= {special.vision_start: "", special.vision_end: ""}
    text, plain = "", []
    for token in [*picture.views._views[view].session.ids, special.vision_end]:
        if token in names:
            text += tokenizer.decode(plain) + names[token]
            plain = []
        else:
            plain.append(token)
    return re.sub("(<image>)+", "<image>", text)


def computed_once(model, answers, sessions):
    """Whether every cell of these sessions was computed once, but for what was taken back."""
    system = len(model.prompt.system())
    held = system + sum(session.cells - system for session in sessions)
    discarded = sum(turn.discarded_tokens for answer in answers for turn in answer.turns)
    return model.runtime.forwarded == held + discarded
