"""Requests to the server: read to a question and a picture, or refused with a status below 500."""

import base64
import io
import json

import pytest

pytest.importorskip("fastapi", reason="pip install 'awares-edge[serve]'")
pytest.importorskip("llguidance", reason="pip install 'awares-edge[serve]'")

from PIL import Image

import awares_edge
from awares_edge.httpd.refusals import as_refusal
from awares_edge.serve.conversation import read_conversation
from awares_edge.serve.grammar import JsonAnswers, json_schema
from awares_edge.serve.images import make_sheet, read_images
from awares_edge.serve.options import ServeOptions
from awares_edge.serve.requests import read_request
from awares_edge.serve.shown import Shown, shortener
from tests.fuzz.mutate import damage

VALUES = [
    *(None, True, False, 0, 1, -1, 2**53, 2**70, 0.5, 1e308, "", " ", "a", "\ud800", "x" * 5000),
    *([], {}, [None], [[]], {"": None}, "user", "system", "assistant", "text", "image_url"),
    *("json_object", "json_schema", "object", "data:image/png;base64,", "http://a/b", "#/x"),
    *({"type": "string"}, {"$ref": "#"}, {"type": ["object", "null"]}, {"pattern": "(("}),
]


def seed(picture):
    part = {"type": "image_url", "image_url": {"url": picture, "detail": "low"}}
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "enum": ["x"]},
            "b": {"type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 2},
        },
        "$defs": {"n": {"type": "integer", "minimum": 0}},
        "required": ["a"],
        "additionalProperties": False,
    }
    return {
        "model": "awares-edge",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "One:"}, part, part]},
            {"role": "assistant", "content": "A cup."},
            {"role": "user", "content": [{"type": "text", "text": "And this?"}, part]},
        ],
        "max_tokens": 5,
        "stop": ["END"],
        "stream_options": {"include_usage": True},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "strict": True, "schema": schema},
        },
    }


def mutated(random, node, rate):
    """The same JSON with a value replaced, dropped, doubled or moved, anywhere."""
    if random.random() < rate:
        return random.choice(VALUES)
    if isinstance(node, dict):
        found = {k: mutated(random, v, rate) for k, v in node.items() if random.random() > rate}
        if found and random.random() < rate:
            found[random.choice(list(found))] = random.choice(list(found.values()))
        return found
    if isinstance(node, list):
        found = [mutated(random, item, rate) for item in node if random.random() > rate]
        return found * random.choice((2, 40)) if random.random() < rate else found
    return node


class Requests:
    """Bodies: JSON of the right shape with anything in it, damaged bytes, damaged pictures."""

    def __init__(self, folder):
        out = io.BytesIO()
        Image.effect_noise((64, 48), 50).convert("RGB").save(out, "PNG")
        self.png = out.getvalue()
        self.model = awares_edge.scripted()
        self.answers = JsonAnswers(self.model)
        self.options = ServeOptions(max_pixels=100_000)

    def case(self, random):
        picture = damage(random, self.png, [self.png]) if random.random() < 0.2 else self.png
        url = "data:image/png;base64," + base64.b64encode(picture).decode()
        rate = random.choice((0.0, 0.002, 0.005, 0.02, 0.05))
        body = json.dumps(mutated(random, seed(url), rate)).encode()
        return damage(random, body, [body]) if random.random() < 0.1 else body

    def check(self, body):
        try:
            return self.read(body)
        except awares_edge.AwaresError as error:
            refusal = as_refusal(error)
            assert 400 <= refusal.status < 500, refusal
            json.dumps(refusal.body()).encode("ascii")
            raise

    def read(self, body):
        request, _ = read_request(body, self.options)
        conversation = read_conversation(request.messages)
        shown = Shown(request.stops, shortener(self.model, request.limit))
        for piece in ("one ", "END", " two"):
            shown.feed(piece)
        shown.close()
        if (schema := json_schema(request.response_format)) is not None:
            grammar = self.answers.grammar(schema)
            assert grammar.allowed([]).any()
        if not conversation.images:
            return "no picture"
        sheet = make_sheet(read_images(conversation.images, self.options), 100_000)
        assert sheet.image.width * sheet.image.height <= 100_000
        assert len(sheet.cells) == len(conversation.images)
        self.model.prompt.ask(conversation.question)
        return "accepted"


@pytest.mark.fuzz
def test_requests_of_any_content(check):
    check(Requests, 5000)
