"""What answers at an address, and how it is asked."""

import pytest
from PIL import Image

import awares_edge
from awares_edge import EndpointError, InputError
from awares_edge.remote.servers import KINDS
from tests.remote.fake import Fault, faking


def about(**models):
    with faking(**models) as fake, awares_edge.connect(fake.url, protocol="paper") as model:
        return model.about, model._link.served


@pytest.mark.parametrize(("owner", "name"), [
    ("llamacpp", "llama.cpp server"), ("vllm", "vllm"), ("sglang", "sglang"),
    ("organization-owner", "endpoint"),
])  # fmt: skip
def test_a_server_is_known_by_the_owner_of_its_models(owner, name):
    said, _ = about(owner=owner)
    assert (said.runtime, said.precision, said.device) == (name, "unknown", "unknown")
    assert said.name == "m"


@pytest.mark.parametrize("entry", [{"max_model_len": 512}, {"meta": {"n_ctx": 512}}])
def test_its_context_is_taken_from_what_it_says(entry):
    _, served = about(models={"data": [{"id": "m", **entry}]})
    assert served.context == 512


def test_nothing_is_taken_for_granted():
    entry = {"id": "m", "owned_by": ["x"], "meta": 3, "max_model_len": "512", "awares": 1}
    _, served = about(models={"data": [entry, {"id": 7}, "x"]})
    assert (served.context, served.own, served.kind.grammar) == (None, None, None)


def test_a_plain_server_needs_a_profile():
    with faking() as fake, pytest.raises(InputError, match="name its protocol profile"):
        awares_edge.connect(fake.url)


def test_of_several_models_one_must_be_named():
    models = {"data": [{"id": "one"}, {"id": "t\x1bwo"}]}
    with faking(models=models) as fake:
        with pytest.raises(InputError, match=r"several models: name one of one, t\\x1bwo"):
            awares_edge.connect(fake.url, protocol="paper")
        with awares_edge.connect(fake.url, model="one", protocol="paper") as model:
            assert model.about.name == "one"


@pytest.mark.parametrize("models", [
    {}, {"data": []}, {"data": 3}, {"data": [{"id": "m"}] * 5000},
    Fault(200, b"<html>", kind="text/html"), Fault(200, b"x" * (5 << 20)),
])  # fmt: skip
def test_what_lists_no_models(models):
    with faking(models=models) as fake, pytest.raises(EndpointError):
        awares_edge.connect(fake.url, protocol="paper")


@pytest.mark.parametrize("options", [
    {"timeout": 0}, {"timeout": float("nan")}, {"pictures": "gif"}, {"protocol": "none"},
    {"key": "two\nlines"}, {"key": "schl\u00fcssel"},
])  # fmt: skip
def test_arguments_that_cannot_be_used_are_refused_before_anything_is_sent(options):
    with pytest.raises(InputError):
        awares_edge.connect("http://127.0.0.1:9", **{"protocol": "paper", **options})


@pytest.mark.parametrize("owner", KINDS)
def test_greedy_decoding_is_not_bent_by_a_penalty(owner):
    with (
        faking("red", owner=owner) as fake,
        awares_edge.connect(fake.url, protocol="paper") as model,
    ):
        model.ask(Image.new("RGB", (80, 60)), "What?")
    request = fake.requests[0]
    assert request["temperature"] == 0
    assert {1.0} == {v for k, v in request.items() if "penalty" in k}
