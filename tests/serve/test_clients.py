"""Client libraries as they are, against a running server."""

import asyncio
import json

import pytest

from tests.serve.support import CALL, NAME, data_url, picture, serving

SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "sure": {"type": "boolean"}},
    "required": ["label", "sure"],
    "additionalProperties": False,
}
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "label", "strict": True, "schema": SCHEMA},
}
JSON = '{"label":"X50","sure":true}'


def messages(question="What does it say?", seed=0):
    url = {"url": data_url(picture(seed)), "detail": "low"}
    parts = [{"type": "text", "text": question}, {"type": "image_url", "image_url": url}]
    return [{"role": "user", "content": parts}]


class TestOpenAI:
    """The `openai` package."""

    openai = pytest.importorskip("openai")

    def client(self, server, kind=None, **options):
        kind = kind or self.openai.OpenAI
        return kind(base_url=server.url, api_key="any", max_retries=0, **options)

    def test_asks(self):
        with serving(CALL, "42") as server, self.client(server) as client:
            found = client.chat.completions.create(model=NAME, messages=messages())
        assert found.choices[0].message.content == "42"
        assert found.choices[0].finish_reason == "stop"
        assert found.usage.prompt_tokens_details.cached_tokens > 0
        assert found.usage.completion_tokens_details.reasoning_tokens == len(CALL) + 1
        assert found.awares["crops"] == ["3"]

    def test_streams(self):
        with serving(CALL, "forty two") as server, self.client(server) as client:
            parts = list(
                client.chat.completions.create(
                    model=NAME,
                    messages=messages(),
                    stream=True,
                    stream_options={"include_usage": True},
                )
            )
        text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
        assert text == "forty two"
        assert parts[-1].usage.completion_tokens > 0

    def test_streams_with_its_helper(self):
        with (
            serving("forty two") as server,
            self.client(server) as client,
            client.chat.completions.stream(model=NAME, messages=messages()) as stream,
        ):
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        assert final.choices[0].message.content == "forty two"
        assert "content.done" in kinds

    def test_asks_without_blocking(self):
        async def scenario(server):
            async with self.client(server, self.openai.AsyncOpenAI) as client:
                create = client.chat.completions.create
                found = await create(model=NAME, messages=messages())
                stream = await create(model=NAME, messages=messages(), stream=True)
                pieces = [part.choices[0].delta.content or "" async for part in stream]
            return found.choices[0].message.content, "".join(pieces)

        with serving("one", "two") as server:
            assert asyncio.run(scenario(server)) == ("one", "two")

    def test_gets_json_by_its_schema(self):
        with serving(CALL, JSON, ["It says X50.", JSON]) as server, self.client(server) as client:
            create = client.chat.completions.create
            for seed in range(2):
                found = create(
                    model=NAME, messages=messages(seed=seed), response_format=FORMAT, max_tokens=200
                )
                assert set(json.loads(found.choices[0].message.content)) == {"label", "sure"}

    def test_parses_into_a_model(self):
        pydantic = pytest.importorskip("pydantic")
        label = pydantic.create_model("Label", label=(str, ...), sure=(bool, ...))
        with serving(JSON) as server, self.client(server) as client:
            found = client.chat.completions.parse(
                model=NAME, messages=messages(), response_format=label
            )
        assert found.choices[0].message.parsed == label(label="X50", sure=True)

    def test_lists_models(self):
        with serving() as server, self.client(server) as client:
            assert [model.id for model in client.models.list()] == [NAME]
            assert client.models.retrieve(NAME).max_model_len == 32_768

    def test_raises_its_own_errors(self):
        openai = self.openai
        with (
            serving(token="0123456789abcdef") as server,
            self.client(server) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.models.list()
        with serving(CALL) as server, self.client(server) as client:
            create = client.chat.completions.create
            with pytest.raises(openai.BadRequestError) as caught:
                create(model=NAME, messages=messages(), temperature=1)
            assert caught.value.param == "temperature"
            with pytest.raises(openai.NotFoundError):
                create(model="other", messages=messages())
            with pytest.raises(openai.APIError, match="used up"):
                list(create(model=NAME, messages=messages(), stream=True))


class TestLangChain:
    """LangChain's ChatOpenAI."""

    @pytest.fixture
    def chat(self):
        library = pytest.importorskip("langchain_openai", reason="pip install langchain-openai")

        def make(server):
            return library.ChatOpenAI(
                base_url=server.url, api_key="any", model=NAME, max_retries=0, temperature=0
            )

        return make

    def test_asks_and_streams(self, chat):
        with serving(CALL, "42", "forty two") as server:
            model = chat(server)
            found = model.invoke(messages())
            pieces = "".join(str(part.content) for part in model.stream(messages()))
        assert found.content == "42"
        assert found.usage_metadata["input_token_details"]["cache_read"] > 0
        assert pieces == "forty two"

    def test_gets_json_by_its_schema(self, chat):
        with serving(JSON) as server:
            schema = {"title": "label", **SCHEMA}
            model = chat(server).with_structured_output(schema, method="json_schema")
            assert model.invoke(messages()) == {"label": "X50", "sure": True}


class TestLiteLLM:
    """LiteLLM, as it talks to any OpenAI-compatible server."""

    @pytest.fixture
    def completion(self, monkeypatch):
        # Or it fetches a list of prices from the network when it is imported.
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        library = pytest.importorskip("litellm", reason="pip install litellm")

        def ask(server, **more):
            return library.completion(
                model=f"openai/{NAME}", api_base=server.url, api_key="any", num_retries=0, **more
            )

        return ask

    def test_asks_and_streams(self, completion):
        with serving(CALL, "42", "forty two") as server:
            found = completion(server, messages=messages())
            parts = completion(server, messages=messages(), stream=True)
            pieces = "".join(part.choices[0].delta.content or "" for part in parts)
        assert found.choices[0].message.content == "42"
        assert found.usage.prompt_tokens > 0
        assert pieces == "forty two"

    def test_gets_json_by_its_schema(self, completion):
        with serving(JSON) as server:
            found = completion(server, messages=messages(), response_format=FORMAT)
        assert json.loads(found.choices[0].message.content) == {"label": "X50", "sure": True}
