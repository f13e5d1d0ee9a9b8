"""What the server answers: OpenAI's shapes, usage, streams, errors, probes and metrics."""

import json

import pytest

import awares_edge
from awares_edge.serve.conversation import NO_PICTURE
from awares_edge.serve.images import ImageData, make_sheet
from tests.serve.support import (
    CALL,
    ask,
    chunks,
    encoded,
    image,
    picture,
    refused,
    serving,
    streamed_text,
    text,
    user,
)


@pytest.fixture(scope="module")
def server():
    """One for all tests that need no reply of the model: starting one takes longer than they do."""
    with serving() as served:
        yield served


def test_an_answer_is_what_the_python_api_gives():
    replies = [CALL, "42"]
    with awares_edge.scripted(replies) as model:
        expected = model.ask(picture(), "What?").to_dict()
    with serving(*replies) as server:
        found = server.chat(ask())
    assert found["choices"][0]["message"]["content"] == "42"
    assert found["choices"][0]["finish_reason"] == "stop"
    times = {"timings_ms"}
    shared = expected.keys() - times
    assert {k: found["awares"][k] for k in shared} == {k: expected[k] for k in shared}
    assert found["awares"]["timings_ms"].keys() == expected["timings_ms"].keys()
    assert found["awares"]["zoomed"] == [
        {
            "id": "3",
            "name": "bottom-right",
            "box": [224, 168, 448, 336],
            "tokens": 48,
            "size": [224, 168],
            "turn": 0,
        }
    ]
    assert (found["awares"]["view"], found["awares"]["call_text"]) == ("low", CALL)


def test_usage_counts_every_token_once():
    with serving(CALL, "42", CALL, "42") as server:
        first, second = server.chat(ask())["usage"], server.chat(ask())["usage"]
    # A byte a token, and the token that ends the turn.
    assert first["completion_tokens"] == len(CALL) + 1 + len("42") + 1
    assert first["completion_tokens_details"]["reasoning_tokens"] == len(CALL) + 1
    assert first["total_tokens"] == first["prompt_tokens"] + first["completion_tokens"]
    assert second["prompt_tokens"] == first["prompt_tokens"]
    cached = [u["prompt_tokens_details"]["cached_tokens"] for u in (first, second)]
    assert 0 < cached[0] < cached[1] < first["prompt_tokens"]


class TestAModelThatThinks:
    REPLY = "<think>It is on the left.</think><answer>42</answer>"

    def serving(self):
        return serving(model=awares_edge.scripted([self.REPLY], protocol="adaptvision"))

    def test_its_thoughts_are_apart_from_its_answer(self):
        with self.serving() as server:
            message = server.chat(ask())["choices"][0]["message"]
        assert message["content"] == "42"
        assert "It is on the left." in message["reasoning_content"]

    def test_a_stream_sends_them_as_they_come(self):
        with self.serving() as server:
            parts = chunks(server.post(ask(stream=True)))
        deltas = [part["choices"][0]["delta"] for part in parts if part["choices"]]
        assert "".join(delta.get("content", "") for delta in deltas) == "42"
        thought = "".join(delta.get("reasoning_content", "") for delta in deltas)
        assert "It is on the left." in thought

    def test_it_cannot_be_held_to_json(self):
        with self.serving() as server:
            body = ask(response_format={"type": "json_object"})
            response = server.post(body)
        refused(response, 400, "unsupported_value")


def test_timings_are_llama_cpps():
    with serving("42") as server:
        found = server.chat(ask())
    timings, usage = found["timings"], found["usage"]
    assert timings["cache_n"] + timings["prompt_n"] == usage["prompt_tokens"]
    assert timings["predicted_n"] == usage["completion_tokens"]
    assert timings["prompt_ms"] > 0
    assert timings["predicted_per_second"] > 0


@pytest.mark.parametrize("detail", ["low", "high", "auto", None])
def test_detail_does_not_switch_zooming_off(detail):
    with serving(CALL, "42") as server:
        body = {"messages": [user(text("What?"), image(detail=detail))]}
        assert server.chat(body)["awares"]["crops"] == ["3"]


def test_a_picture_may_be_given_as_a_string():
    with serving("42") as server:
        part = image()
        part["image_url"] = part["image_url"]["url"]
        assert server.chat({"messages": [user(text("What?"), part)]})["awares"]["asked"]


def test_several_pictures_are_asked_about_as_one_sheet():
    sheet = make_sheet(ImageData(tuple(encoded(picture(i)) for i in range(3)), ""), 10**8)
    with awares_edge.scripted([CALL, "42"]) as model:
        expected = model.ask(sheet.image, "What?")
    with serving(CALL, "42") as server:
        body = {"messages": [user(*map(image, range(3)), text("What?"))]}
        found = server.chat(body)["awares"]
    assert found["images"] == {
        "sent": 3,
        "shown": 3,
        "boxes": [[0, 0, 448, 336], [448, 0, 896, 336], [0, 336, 448, 672]],
    }
    assert found["visual_tokens"]["full"] == expected.visual_tokens.full
    assert found["boxes"] == [list(crop.box) for crop in expected.crops]


def test_a_later_turn_asks_about_the_picture_of_an_earlier_one():
    history = [user(text("What?"), image()), {"role": "assistant", "content": "42"}]
    with serving("42", "43") as server:
        cold = server.chat({"messages": history[:1]})["usage"]["prompt_tokens_details"]
        found = server.chat({"messages": [*history, user(text("Sure?"))]})
    assert found["usage"]["prompt_tokens_details"]["cached_tokens"] > cold["cached_tokens"]
    assert found["awares"]["images"]["sent"] == 1


# Text alone.


@pytest.mark.parametrize("content", ["Hi", [text("Hi")], [], None])
def test_a_conversation_without_a_picture_gets_a_fixed_reply(server, content):
    found = server.chat({"messages": [{"role": "user", "content": content}], "max_tokens": 1})
    assert found["choices"][0]["message"]["content"] == NO_PICTURE
    assert found["usage"]["total_tokens"] == 0
    assert found["awares"]["asked"] is False


def test_the_fixed_reply_is_streamed_too(server):
    parts = chunks(server.post({"messages": [user(text("Hi"))], "stream": True}))
    assert streamed_text(parts) == NO_PICTURE


def test_a_form_that_the_fixed_reply_does_not_have_is_refused(server):
    body = {"messages": [user(text("Hi"))], "response_format": {"type": "json_object"}}
    assert server.post(body).status_code == 400


# Streams.


@pytest.mark.parametrize("replies", [["forty two"], [CALL, "forty two"], [""], ["  a \n"]])
def test_a_stream_has_the_same_text_as_an_answer(replies):
    with serving(*replies, *replies) as server:
        whole = server.chat(ask())
        parts = chunks(server.post(ask(stream=True)))
    assert streamed_text(parts) == whole["choices"][0]["message"]["content"]
    assert parts[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [p["choices"][0]["finish_reason"] for p in parts] == [None] * (len(parts) - 1) + ["stop"]
    assert len({(p["id"], p["object"], p["model"]) for p in parts}) == 1
    assert parts[-1]["awares"]["crops"] == whole["awares"]["crops"]
    assert "timings" in parts[-1]
    assert not any("usage" in part for part in parts)


def test_a_stream_tells_where_the_model_looks_before_it_answers():
    with serving(CALL, "42") as server:
        parts = chunks(server.post(ask(stream=True)))
    at = next(i for i, p in enumerate(parts) if "zooming" in p.get("awares", {}))
    assert parts[at]["awares"]["zooming"][0]["name"] == "bottom-right"
    assert streamed_text(parts[:at]) == ""
    assert streamed_text(parts[at:]) == "42"


def test_the_last_chunk_carries_the_usage_where_it_is_wanted():
    with serving("42", "42") as server:
        expected = server.chat(ask())["usage"]
        body = ask(seed=1, stream=True, stream_options={"include_usage": True})
        last = chunks(server.post(body))[-1]
    assert last["choices"] == []
    assert last["usage"] == expected


def test_what_fails_before_the_first_text_has_its_own_status(server):
    response = server.post(ask(stream=True))
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"


def test_what_fails_after_it_is_an_error_in_the_stream():
    with serving(CALL) as server:  # the crops get no reply
        lines = server.post(ask(stream=True)).text.split("\n\n")
    assert "[DONE]" not in lines[-2]
    assert json.loads(lines[-2].removeprefix("data: "))["error"]["type"] == "server_error"


# Limits of the answer.


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_answer_keeps_to_the_token_limit(name):
    with serving("x" * 100, "x" * 100) as server:
        for limit in (3, 70):
            choice = server.chat(ask(**{name: limit}))["choices"][0]
            assert choice["message"]["content"] == "x" * limit
            assert choice["finish_reason"] == "length"


def test_a_call_does_not_count_against_the_limit():
    with serving(CALL, "42") as server:
        found = server.chat(ask(max_tokens=2))
    assert found["awares"]["crops"] == ["3"]
    assert found["choices"][0]["message"]["content"] == "42"
    assert found["choices"][0]["finish_reason"] == "stop"


def test_the_servers_own_limit_holds():
    with serving("x" * 300, max_tokens=100) as server:
        content = server.chat(ask(max_tokens=200))["choices"][0]["message"]["content"]
    assert len(content) == 100


@pytest.mark.parametrize("stop", ["END", ["END", "never"]])
def test_the_answer_ends_before_a_stop_text(stop):
    with serving("one END two", "one END two") as server:
        choice = server.chat(ask(stop=stop))["choices"][0]
        parts = chunks(server.post(ask(stop=stop, stream=True)))
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one ", "stop")
    assert streamed_text(parts) == "one "


def test_json_is_held_to_its_schema_and_the_question_says_so():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with serving(CALL, ["42", '{"n":42}'], '{"n":1}') as server:
        found = server.chat(ask(response_format=wanted))
        body = ask(seed=1, response_format={"type": "json_object"})
        plain = server.chat(body)
    assert json.loads(found["choices"][0]["message"]["content"]) == {"n": 42}
    assert found["awares"]["crops"] == ["3"]
    assert json.loads(plain["choices"][0]["message"]["content"]) == {"n": 1}
    # The byte tokenizer counts what the question gained.
    assert found["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"] + 48
