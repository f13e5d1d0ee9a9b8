"""The OpenAPI document, and requests made from it: whatever is sent, nothing ends in a 500."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies

import awares_edge
from tests.serve.support import image, serving


@pytest.fixture(scope="module")
def server():
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def document(server):
    return server.http.get("/openapi.json").json()


def test_every_path_is_described(document):
    assert set(document["paths"]) == {
        *("/v1/chat/completions", "/v1/models", "/v1/models/{name}"),
        *("/props", "/metrics", "/healthz", "/readyz"),
    }


def test_the_request_is_described(document):
    post = document["paths"]["/v1/chat/completions"]["post"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schemas = document["components"]["schemas"]
    assert "messages" in schemas[reference.rpartition("/")[2]]["required"]

    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    assert {r.rpartition("/")[2] for r in references(document)} <= set(schemas)


@pytest.mark.fuzz
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_requests_made_from_the_document_never_end_in_a_500(mode, pytestconfig):
    schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
    examples = max(10, int(150 * pytestconfig.getoption("--fuzz-times")))
    with awares_edge.scripted() as model, serving(model=model) as server:
        end = model.runtime.end
        model.runtime.next_reply = lambda: [[*model.tokenizer.encode("42"), end]]
        schema = schemathesis.openapi.from_url(f"{server.root}/openapi.json")
        statuses = set()
        for operation in schema.get_all_operations():
            found = operation.ok()
            # A request without parameters and body cannot be made wrong.
            if mode == "positive" or found.method == "post":
                cases = found.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
                statuses |= send_all(cases, server, examples)
        assert statuses >= ({200, 400} if mode == "positive" else {400})


def send_all(cases, server, examples):
    """Send generated requests; the statuses of the responses."""
    statuses = set()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, strategies.booleans())
    def never_fails(case, with_pictures):
        if with_pictures:
            case.body = with_real_pictures(case.body)
        response = case.call(base_url=server.root)
        statuses.add(response.status_code)
        assert response.status_code != 500, response.text
        if response.status_code >= 400 and case.method != "HEAD":
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}

    never_fails()
    return statuses


PICTURE = image(size=(64, 48))["image_url"]["url"]


def with_real_pictures(body):
    """No generated text is a picture: without this, none would be asked about."""
    if isinstance(body, dict):
        found = {key: with_real_pictures(value) for key, value in body.items()}
        if isinstance(found.get("image_url"), str):
            found["image_url"] = PICTURE
        if isinstance(found.get("url"), str):
            found["url"] = PICTURE
        return found
    return [with_real_pictures(item) for item in body] if isinstance(body, list) else body
