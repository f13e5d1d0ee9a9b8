"""Whatever a server sends for a question is an answer, or one line that says what is wrong."""

import json
from contextlib import contextmanager

import pytest
from PIL import Image

from awares_edge import PROFILES, Answer, AskOptions
from awares_edge.controller.askable import About
from awares_edge.remote.address import Address
from awares_edge.remote.link import Link
from awares_edge.remote.model import RemoteModel
from awares_edge.remote.servers import KINDS, PLAIN, Served, choose
from tests.fuzz.mutate import damage
from tests.fuzz.test_requests import mutated

pytest.importorskip("fastapi", reason="pip install 'awares-edge[serve]'")

PICTURE = Image.new("RGB", (448, 336), "red")
CALLS = {name: profile.call.examples()[0] for name, profile in PROFILES.items()}
CROP = {"id": "3", "name": "bottom-right", "box": [224, 168, 448, 336], "tokens": 48,
        "size": [224, 168], "turn": 0}  # fmt: skip
TOLD = {
    "asked": True, "answer": "red", "mode": "awares", "view": "low", "zoomed": [CROP],
    "call_status": "ok", "call_text": "GET_CROPS: ['3']", "pixel_ratio": 0.5, "policies": ["a:b"],
    "visual_tokens": {"low": 48, "crops": 48, "full": 192}, "finish": "stop", "runtime": "onnx",
    "precision": "fp16", "protocol": "paper", "reasoning": "so", "reasoning_tokens": 1,
    **{name: [1, None] for name in ("prefill_tokens", "reused_tokens", "decode_tokens")},
    **{name: [0, 0] for name in ("discarded_tokens", "reused_regions")},
    "confidence": 0.9, "log_probability": -0.1, "decision_margin": None, "decision_bias": 0.0,
    "timings_ms": {"preprocess": [1.0, 2], "vision": [None, 0], "total": 3},
}  # fmt: skip
MODELS = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 9, "meta": {"n_ctx": 9},
                    "awares": {"runtime": "onnx"}}]}  # fmt: skip


def delta(**fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def chunks(text, told):
    """What a server streams for one reply."""
    out = [delta(role="assistant", content=""), delta(reasoning_content="so")]
    if told:
        out.append({"choices": [{"delta": {}}], "awares": {"zooming": [CROP]}})
    out += [delta(content=text[i : i + 5]) for i in range(0, len(text), 5)]
    out.append({"choices": [{"delta": {}, "finish_reason": "stop"}], "awares": told or {}})
    usage = {"prompt_tokens": 9, "completion_tokens": 3,
             "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip
    timings = {"prompt_ms": 1.5, "predicted_ms": 2}
    return [*out, {"choices": [], "usage": usage, "timings": timings}]


class _Recorded:
    """A server and its responses, one after the other."""

    def __init__(self, bodies, kind):
        self.address = Address.parse("http://server.test/v1")
        self.bodies, self.kind = bodies, kind

    def check(self):
        pass

    def close(self):
        pass

    @contextmanager
    def request(self, *_):
        yield self

    def pieces(self):
        body = self.bodies.pop(0) if self.bodies else b""
        return iter([body[at : at + 700] for at in range(0, len(body), 700)])


class Replies:
    """Streams with anything in their chunks, damaged bytes, of all kinds of servers."""

    def __init__(self, folder):
        pass

    def case(self, random):
        own = random.random() < 0.4
        name = random.choice(list(PROFILES))
        rate = random.choice((0.0, 0.002, 0.01, 0.05))
        bodies = []
        for text in (CALLS[name], "<think>so</think><answer>red</answer>", "red"):
            events = mutated(random, chunks(text, TOLD if own else None), rate)
            lines = events if isinstance(events, list) else [events]
            body = b"".join(b"data: " + json.dumps(line).encode() + b"\n\n" for line in lines)
            body += b"data: [DONE]\n\n"
            bodies.append(damage(random, body, [body]) if random.random() < 0.2 else body)
        kind = random.choice([PLAIN, *KINDS.values()])
        stream = "text/event-stream" if random.random() < 0.9 else "application/json"
        return bodies, stream, name, Served("m", kind, random.choice((None, 600)),
                                            {} if own else None)  # fmt: skip

    def check(self, case):
        bodies, stream, name, served = case
        link = Link(_Recorded(list(bodies), stream), served)
        profile = PROFILES["paper" if served.own is not None else name]
        model = RemoteModel(link, profile, About("x", "x", "x"))
        answer = model.ask(PICTURE, "What?", AskOptions())
        assert isinstance(answer, Answer)
        json.dumps(answer.to_dict()).encode("ascii")
        answer.text.encode()
        return "accepted"


class ModelLists:
    """What a server says that it serves."""

    def __init__(self, folder):
        pass

    def case(self, random):
        return mutated(random, MODELS, random.choice((0.02, 0.1, 0.3)))

    def check(self, body):
        served = choose(body if isinstance(body, dict) else {}, None, "http://server.test/v1")
        assert isinstance(served.name, str)
        assert served.context is None or served.context > 0
        return "accepted"


@pytest.mark.fuzz
@pytest.mark.parametrize(("target", "cases"), [(Replies, 3000), (ModelLists, 20_000)])
def test_what_a_server_sends(check, target, cases):
    check(target, cases)
