"""The embedded model behind the server: right answers, several clients at a time."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import awares_edge
from tests.serve.support import serving, text, user

SAMPLES = Path(awares_edge.__file__).parent / "assets" / "samples"


def body(sample):
    data = base64.b64encode((SAMPLES / sample["file"]).read_bytes()).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return {"messages": [user(text(sample["question"]), image)]}


def test_each_client_gets_the_answer_to_its_own_picture():
    samples = json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8")) * 4
    model = awares_edge.load(threads=1)
    # Fewer pictures are kept than there are, so that some are found again and some computed anew.
    with serving(model=model, parallel=2, waiting=32, keep_pictures=3) as server:

        def ask(sample):
            with httpx.Client(base_url=server.root, timeout=60, trust_env=False) as http:
                return http.post("/v1/chat/completions", json=body(sample)).json()

        with ThreadPoolExecutor(8) as clients:
            replies = list(clients.map(ask, samples))
    said = [reply["choices"][0]["message"]["content"] for reply in replies]
    assert said == [sample["expected"] for sample in samples]
    assert [r["awares"]["crops"] for r in replies] == [sample["zoom"] for sample in samples]


@pytest.fixture(scope="module")
def samples():
    return json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))


def cached(reply):
    return reply["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_a_restarted_server_answers_from_saved_pictures(samples, tmp_path):
    def replies():
        with serving(model=awares_edge.load(threads=1), save_kv=tmp_path / "kv") as server:
            replies = [server.chat(body(sample)) for sample in samples]
            loaded = server.metric("saved_pictures_total", '{event="loaded"}')
        return replies, loaded

    (before, none), (after, loaded) = replies(), replies()
    assert (none, loaded) == (0, len(samples))
    for reply, again, sample in zip(before, after, samples, strict=True):
        assert cached(again) > cached(reply)
        assert again["choices"] == reply["choices"]
        assert again["choices"][0]["message"]["content"] == sample["expected"]
        assert again["awares"]["crops"] == reply["awares"]["crops"]


def test_regions_that_were_looked_at_are_not_encoded_again(samples, tmp_path, monkeypatch):
    """Those of a later question are added to what the first one saved."""
    asked = [{**body(samples[1]), "awares": {"crops": [crop]}} for crop in "03"]

    def replies():
        with serving(model=awares_edge.load(threads=1), save_kv=tmp_path / "kv") as server:
            return [server.chat(one)["choices"] for one in asked]

    before = replies()

    def never(*_):
        raise AssertionError("the vision tower ran")

    monkeypatch.setattr("awares_edge.runtimes.onnx.OnnxRuntime.encode_image", never)
    assert replies() == before
