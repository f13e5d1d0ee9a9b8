"""What is refused and how, and what probes, monitors and model pickers read."""

import pytest

import awares_edge
from tests.serve.support import CALL, ask, image, serving, text, user


@pytest.fixture(scope="module")
def server():
    """One for all tests that need no reply of the model: starting one takes longer than they do."""
    with serving() as served:
        yield served


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 0.7}, "temperature"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{}]}, "tool_choice"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "16"}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages"),
        ({"messages": [user({"type": "input_audio", "input_audio": {}})]}, "messages"),
        ({"messages": [user(text("  "), image())]}, "messages"),
        ({"messages": [user(text("x" * 32_769), image())]}, "messages"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
def test_what_cannot_be_done_is_refused_and_named(server, more, param):
    response = server.post(ask(**more))
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0, "top_p": 0.9, "seed": 7, "user": "me", "n": 1},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        {"presence_penalty": 0, "logprobs": False, "logit_bias": {}, "store": False},
        {"stream": None, "stop": None, "max_tokens": None, "response_format": None},
        {"model": "awares-edge"},
    ],
)
def test_what_changes_no_answer_is_accepted(more):
    with serving("42") as server:
        assert server.chat(ask(**more))["choices"][0]["message"]["content"] == "42"


def test_sampling_is_ignored_where_the_server_was_told_to_and_the_reply_says_so():
    with serving("42", ignore_sampling=True) as server:
        assert server.chat(ask(temperature=0.7))["awares"]["ignored"] == ["temperature"]


def test_a_context_that_is_too_short_is_the_clients_error():
    with awares_edge.scripted(["42"], context=600) as model, serving(model=model) as server:
        response = server.post(ask("x" * 600))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v2", 404),
        ("GET", "/docs", 404),
        ("GET", "/redoc", 404),
        ("POST", "/v1/completions", 404),
    ],
)
def test_other_paths_and_methods_have_errors_of_the_same_shape(server, method, path, status):
    response = server.http.request(method, path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_another_model_is_not_found():
    with serving(model_name="nano") as server:
        response = server.post(ask(model="gpt-4o"))
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


# What tools read.


def test_models_say_what_clients_look_for(server):
    (entry,) = server.http.get("/v1/models").json()["data"]
    assert server.http.get(f"/v1/models/{entry['id']}").json() == entry
    assert entry["max_model_len"] == entry["meta"]["n_ctx"] == 32_768
    assert "image" in entry["architecture"]["input_modalities"]
    assert "image" in entry["input_modalities"]


def test_props_are_llama_cpps():
    with serving(parallel=3) as server:
        found = server.http.get("/props", params={"model": "x"}).json()
    assert found["default_generation_settings"]["n_ctx"] == 32_768
    assert found["modalities"] == {"vision": True, "audio": False}
    assert found["total_slots"] == 3


def test_probes_answer(server):
    assert server.http.get("/healthz").status_code == 200
    assert server.http.get("/readyz").status_code == 200


def test_a_fault_of_the_model_is_a_500_and_counted(monkeypatch):
    with serving("42") as server:
        monkeypatch.setattr(server.model, "open", lambda _: 1 / 0)
        response = server.post(ask())
        assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
        assert server.metric("requests_total", '{status="500"}') == 1


def test_metrics_count_what_happened():
    with serving(CALL, "42", "no") as server:
        usage = [server.chat(ask())["usage"], server.chat(ask(seed=1))["usage"]]
        server.post({"messages": []})
        prompt = sum(u["prompt_tokens"] for u in usage)
        cached = sum(u["prompt_tokens_details"]["cached_tokens"] for u in usage)
        assert server.metric("prompt_tokens_total") == prompt
        assert server.metric("prefix_cache_queries_total") == prompt
        assert server.metric("prefix_cache_hits_total") == cached
        assert server.metric("generation_tokens_total") == sum(
            u["completion_tokens"] for u in usage
        )
        assert server.metric("requests_total", '{status="200"}') == 2
        assert server.metric("requests_total", '{status="400"}') == 1
        assert server.metric("zoom_decisions_total", '{decision="zoomed"}') == 1
        assert server.metric("zoom_decisions_total", '{decision="direct"}') == 1
        assert server.metric("visual_tokens_total", '{stage="low"}') == 96
        assert server.metric("visual_tokens_total", '{stage="crops"}') == 48
        assert server.metric("time_to_first_token_seconds_count") == 2
        assert server.metric("inter_token_latency_seconds_count") > 0
        assert server.metric("num_requests_running") == 0
        assert server.metric("num_requests_waiting") == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_may_send_head(server, path):
    response = server.http.head(path)
    assert (response.status_code, response.content) == (200, b"")
