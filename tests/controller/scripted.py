"""Questions to a scripted model: what the tests of the loop share."""

import numpy as np
from PIL import Image

import awares_edge
from awares_edge import AskOptions, TextDelta

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
