"""The embedded model behind the server: right answers, several clients at a time."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

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
