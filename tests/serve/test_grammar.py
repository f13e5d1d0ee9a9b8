"""JSON answers: held to their schema token by token, with calls for crops still possible."""

import json

import pytest

import awares_edge
from awares_edge import AskOptions
from awares_edge.httpd.refusals import Refusal
from awares_edge.serve.grammar import JsonAnswers, json_schema
from awares_edge.serve.requests import ResponseFormat
from tests.serve.support import CALL, picture

SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "maxLength": 4}, "sure": {"type": "boolean"}},
    "required": ["label", "sure"],
    "additionalProperties": False,
}


def answer(*replies, schema=SCHEMA):
    model = awares_edge.scripted(replies)
    grammar = JsonAnswers(model).grammar(schema)
    return model.ask(picture(), "What?", AskOptions(grammar=grammar, max_new_tokens=200))


def test_an_answer_that_fits_stays_as_it_is():
    said = '{"label":"X50","sure":true}'
    assert answer(said).text == said


@pytest.mark.parametrize("said", ["X50", "```json\n{}\n```", '{"label": 5}', "", "null", "[]"])
def test_any_other_answer_is_brought_into_the_form(said):
    # A scripted model has no preference but its script, so free texts run up to their limit.
    found = json.loads(answer(said).text)
    assert set(found) == {"label", "sure"}
    assert len(found["label"]) <= 4


def test_the_model_may_still_zoom():
    found = answer(CALL, '{"label":"X50","sure":true}')
    assert [crop.id for crop in found.crops] == ["3"]
    assert json.loads(found.text) == {"label": "X50", "sure": True}


def test_a_call_where_none_is_allowed_is_not_made():
    found = answer(CALL, [CALL, '{"label":"X50","sure":true}'])
    assert len(found.crops) == 1
    assert json.loads(found.text) == {"label": "X50", "sure": True}


def test_what_begins_as_a_call_and_goes_astray_stays_a_call():
    found = answer("GETTING", '{"label":"X50","sure":true}')
    assert found.crops
    assert json.loads(found.text)["label"] == "X50"


def test_a_grammar_can_be_taken_back_and_taken_up_again():
    model = awares_edge.scripted()
    grammar = JsonAnswers(model).grammar({"type": "object"})
    encode = model.tokenizer.encode
    first = grammar.allowed([])
    assert [int(i) for i in first.nonzero()[0]] == encode("{")
    assert not grammar.allowed(encode("GET_CROPS")).any()
    ended = grammar.allowed(encode("{}"))
    assert set(ended.nonzero()[0]) == set(model.special.eos)
    assert (grammar.allowed([]) == first).all()
    assert grammar.allowed([]).shape == (model.runtime.vocabulary,)


def test_the_embedded_model_answers_in_json_too():
    with awares_edge.load(threads=1) as model:
        grammar = JsonAnswers(model).grammar(SCHEMA)
        found = model.ask(picture(), "What is it?", AskOptions(grammar=grammar))
    assert set(json.loads(found.text)) == {"label", "sure"}


def wanted(schema):
    return ResponseFormat(type="json_schema", json_schema={"name": "x", "schema": schema})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "string"},
        {},
        {"type": "object", "description": "x" * 70_000},
    ],
)
def test_schemas_of_other_forms_or_sizes_are_refused_at_once(schema):
    with pytest.raises(Refusal) as caught:
        json_schema(wanted(schema))
    assert (caught.value.status, caught.value.param) == (400, "response_format")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": 3},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1/schema"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a)\\1"}}},
        {"type": "object", "properties": {"a": {"type": "widget"}}},
        {"type": "object", "properties": {"a": {"not": {"type": "string"}}}},
    ],
)
def test_schemas_that_cannot_be_honoured_are_refused(schema):
    with pytest.raises(Refusal) as caught:
        JsonAnswers(awares_edge.scripted()).grammar(schema)
    assert (caught.value.status, caught.value.code) == (400, "invalid_schema")
    assert "\n" not in str(caught.value)


def test_a_schema_nested_too_deeply_is_refused():
    schema = {"type": "object"}
    for _ in range(2000):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(Refusal):
        json_schema(wanted(schema))


def test_a_grammar_needs_constrained_decoding():
    model = awares_edge.scripted()
    with pytest.raises(awares_edge.InputError):
        AskOptions(grammar=JsonAnswers(model).grammar(SCHEMA), constrain=False)
