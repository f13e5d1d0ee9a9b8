"""What a server's chat template makes of the messages is the conversation of a model here."""

import base64
import io
import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import PROFILES, AskOptions
from awares_edge.vision import Preprocessing
from awares_edge.vision.patches import extract_patches
from tests.controller.scripted import IMAGE, context_of
from tests.controller.test_protocols import CASES
from tests.remote.fake import faking

jinja2 = pytest.importorskip("jinja2")

# Qwen2.5-VL's own (chat_template.json of the released checkpoints), without videos and numbering.
TEMPLATE = """\
{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in \
content or 'image_url' in content %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in \
content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def rendered(messages):
    environment = jinja2.Environment(trim_blocks=False, lstrip_blocks=False)
    text = environment.from_string(TEMPLATE).render(messages=messages, add_generation_prompt=True)
    # As `context_of` writes them, regions that touch are one.
    return re.sub(r"(<\|vision_start\|><\|image_pad\|><\|vision_end\|>)+", "<image>", text)


def conversation(protocol, replies, questions=("What?",)):
    """The messages of the last request, and what the cache of a model here holds at the end."""
    options = [AskOptions(follow_up=at > 0) for at in range(len(questions))]
    with (
        faking(*replies) as fake,
        awares_edge.connect(fake.url, protocol=protocol) as model,
        model.open(IMAGE) as picture,
        awares_edge.scripted(replies, protocol=protocol).open(IMAGE) as own,
    ):
        for question, option in zip(questions, options, strict=True):
            picture.ask(question, option)
            own.ask(question, option)
        return fake.requests[-1]["messages"], context_of(own)


@pytest.mark.parametrize("protocol", PROFILES)
def test_both_turns_are_the_same_text(protocol):
    case = CASES[protocol]
    messages, cached = conversation(protocol, (case.call, case.answer))
    text = rendered(messages)
    if PROFILES[protocol].reply.join != "\n":
        # The one difference: a template puts a line end between any two messages.
        text = text.replace("<|im_end|>\n<|im_start|>user\n<tool_response>",
                            "<|im_end|><|im_start|>user\n<tool_response>")  # fmt: skip
    assert cached.startswith(text)


def test_several_regions_and_a_follow_up():
    replies, questions = ("GET_CROPS: ['0', '3']", "red", "blue"), ("Which?", "And below?")
    messages, cached = conversation("paper", replies, questions)
    assert cached.startswith(rendered(messages))


@pytest.mark.parametrize("protocol", PROFILES)
def test_no_two_texts_meet_because_some_servers_would_part_them(protocol):
    case = CASES[protocol]
    messages, _ = conversation(protocol, (case.call, case.answer))
    for message in messages:
        kinds = [part["type"] for part in message["content"] if isinstance(part, dict)]
        assert ("text", "text") not in list(pairwise(kinds))


class TestPictures:
    def sent(self, image, protocol="paper", **options):
        with (
            faking("red") as fake,
            awares_edge.connect(fake.url, protocol=protocol, **options) as model,
        ):
            # In mode "low" the first view is all that is sent, also where a call is a must.
            model.ask(image, "What?", AskOptions(mode="low"))
        for part in fake.requests[0]["messages"][1]["content"]:
            if part["type"] == "image_url":
                kind, _, data = part["image_url"]["url"].partition(";base64,")
                return kind, Image.open(io.BytesIO(base64.b64decode(data)))
        raise AssertionError("no picture was sent")

    @pytest.mark.parametrize("protocol", PROFILES)
    @pytest.mark.parametrize("size", [(560, 448), (613, 407), (90, 70)])
    def test_they_are_what_the_vision_tower_gets_here(self, protocol, size):
        pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        kind, sent = self.sent(Image.fromarray(pixels), protocol)
        profile = PROFILES[protocol]
        assert kind == "data:image/png"
        assert (sent.width % 28, sent.height % 28) == (0, 0)
        limits = {"min_pixels": profile.min_pixels, "max_pixels": profile.max_pixels}
        with awares_edge.scripted(["red"], protocol=protocol).open(pixels) as own:
            view = own.first_view(own.ask("What?", AskOptions(mode="low")))
        ours = extract_patches(view, Preprocessing(), **limits).pixels
        theirs = extract_patches(sent.convert("RGB"), Preprocessing(), **limits).pixels
        assert np.array_equal(ours, theirs)

    def test_jpeg_is_smaller(self):
        kind, sent = self.sent(IMAGE, pictures="jpeg")
        assert (kind, sent.format) == ("data:image/jpeg", "JPEG")
