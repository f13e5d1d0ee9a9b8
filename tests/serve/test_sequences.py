"""What real clients send, in their order: `sequences/*.json`, written after the clients' sources.

`PICTURE n` stands for a data URL. `expect` says what the client needs in the reply.
"""

import json
from pathlib import Path

import pytest

from tests.serve.support import CALL, chunks, data_url, picture, serving, streamed_text

SEQUENCES = sorted((Path(__file__).parent / "sequences").glob("*.json"))
VALUES = {"string": "seen", "number": 0.5, "integer": 1}


def read(path):
    text = path.read_text(encoding="utf-8")
    for seed in range(4):
        text = text.replace(f'"PICTURE {seed}"', json.dumps(data_url(picture(seed), "JPEG")))
    return json.loads(text)["requests"]


def reply_for(request):
    """What the scripted model says: JSON where a schema is asked for."""
    schema = request["json"].get("response_format", {}).get("json_schema", {}).get("schema")
    if schema is None:
        return "A person at the door."
    properties = schema["properties"].items()
    return json.dumps({k: VALUES[v["type"]] for k, v in properties}, separators=(",", ":"))


def lookup(found, path):
    for step in path.split("."):
        found = found[int(step)] if step.isdigit() else found[step]
    return found


@pytest.mark.parametrize("path", SEQUENCES, ids=lambda path: path.stem)
def test_a_client_gets_what_it_needs(path):
    with serving(ignore_sampling=path.stem.startswith("llmvision")) as server:
        for request in read(path):
            check(server, request)


def check(server, request):
    expected = request["expect"]
    pictures = "image_url" in json.dumps(request.get("json", ""))
    if pictures:
        server.script(CALL, reply_for(request))
    body = request.get("json")
    response = server.http.request(
        request["method"], request["path"], headers=request["headers"], json=body
    )
    assert response.status_code == 200, response.text
    if body is None:
        found = response.json()
    elif body.get("stream"):
        found, text = from_stream(response, body)
    else:
        found = response.json()
        text = found["choices"][0]["message"]["content"]
    for name in expected.get("has", []):
        assert lookup(found, name), name
    if body is None:
        return
    assert text.strip()
    assert found["choices"][0]["finish_reason"] == "stop"
    if pictures:
        assert text == reply_for(request)
        assert found["awares"]["crops"] == ["3"]
        assert found["awares"]["ignored"] == expected.get("ignored", [])
        assert found["awares"]["images"]["shown"] == expected.get("shown", 1)


def from_stream(response, body):
    parts = chunks(response)
    wanted = (body.get("stream_options") or {}).get("include_usage")
    assert ("usage" in parts[-1]) == bool(wanted)
    return parts[-2 if wanted else -1], streamed_text(parts)


def test_a_temperature_is_an_error_that_says_what_to_do():
    """LLM Vision always sends one."""
    path = SEQUENCES[0].with_name("llmvision_localai.json")
    request = next(r for r in read(path) if "temperature" in r.get("json", {}))
    with serving() as server:
        response = server.post(request["json"])
    assert response.status_code == 400
    assert "--ignore-sampling" in response.json()["error"]["message"]
