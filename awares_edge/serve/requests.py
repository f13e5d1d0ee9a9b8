"""The body of a chat completion request: its shape, and the parameters that are refused.

The shape is OpenAI's (platform.openai.com/docs/api-reference/chat). Fields that are not named here
are ignored: clients send many, and none of those changes an answer. A field that would change it
and cannot be honoured is refused, never ignored silently.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from awares_edge.controller import AskOptions, Mode, Policies
from awares_edge.controller.policies import InvalidCallPolicy, TooManyPolicy
from awares_edge.errors import InputError
from awares_edge.httpd.refusals import Refusal, unsupported
from awares_edge.schema import parse_json, shown
from awares_edge.serve.options import MAX_MESSAGES, MAX_PARTS, MAX_STOP, MAX_STOPS, ServeOptions


class _Body(BaseModel):
    # Strict: "16" is not a number. Nor is a float without a fraction a whole number.
    model_config = ConfigDict(strict=True, extra="ignore")


class ImageUrl(_Body):
    """`detail` is accepted and ignored: whether to look closer is the model's decision."""

    url: str
    detail: str | None = None


class TextPart(_Body):
    type: Literal["text"]
    text: str


class ImagePart(_Body):
    type: Literal["image_url"]
    image_url: ImageUrl | str

    @property
    def url(self) -> str:
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], Field(max_length=MAX_PARTS)] | None = None

    @property
    def parts(self) -> list[TextPart | ImagePart]:
        """The content as parts; a plain string is one text."""
        if isinstance(self.content, list):
            return list(self.content)
        return [TextPart(type="text", text=self.content)] if self.content else []


class JsonSchema(_Body):
    name: str = "answer"
    # `schema` is a method of pydantic's models.
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(_Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Body):
    include_usage: bool | None = None


Count = Annotated[int, Field(ge=1)]
Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP)]


class Asking(_Body):
    """How to look, as `AskOptions` and `Policies` name it; our own client sends it."""

    # Strict: a field that was not acted on would give another answer than the one asked for.
    model_config = ConfigDict(strict=True, extra="forbid")

    mode: Mode = "awares"
    max_calls: Count | None = None
    crops: Annotated[list[Annotated[str, Field(max_length=8)]], Field(max_length=16)] = []
    invalid_call: InvalidCallPolicy = "protocol"
    max_crops: Count | None = None
    too_many_crops: TooManyPolicy = "keep-first"
    max_rtr: Annotated[float, Field(gt=0)] | None = None
    abstain_below: Annotated[float, Field(ge=0, le=1)] | None = None
    decision_bias: Annotated[float, Field(ge=-1e4, le=1e4)] | None = None

    def options(self, **more: Any) -> AskOptions:
        """These options, with those of the server.

        Raises:
            InputError: they contradict one another.
        """
        policies = Policies(
            self.invalid_call,
            self.max_crops,
            self.too_many_crops,
            self.max_rtr,
            abstain_below=self.abstain_below,
        )
        return AskOptions(
            mode=self.mode,
            max_calls=self.max_calls,
            crops=tuple(self.crops),
            policies=policies,
            decision_bias=self.decision_bias,
            **more,
        )


class ChatRequest(_Body):
    """One request."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, Any] | None = None
    logprobs: bool | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    # A plain default would be copied deeply for each request.
    awares: Annotated[Asking, Field(default_factory=Asking)]

    @property
    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def limit(self) -> int | None:
        """Most tokens of the answer."""
        given = [n for n in (self.max_completion_tokens, self.max_tokens) if n is not None]
        return min(given, default=None)

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def read_request(body: bytes, options: ServeOptions) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request, and the names of parameters that are ignored because the server was told to.

    Raises:
        Refusal: not JSON, not of this shape, or it asks for what cannot be done.
    """
    try:
        data = parse_json(body.decode(), "the request")
    except UnicodeDecodeError:
        raise Refusal(400, "the request is not UTF-8", code="invalid_json") from None
    except InputError as error:
        raise Refusal(400, str(error), code="invalid_json") from None
    try:
        request = ChatRequest.model_validate(data)
    except ValidationError as error:
        raise _shape_refusal(error) from None
    if request.model and request.model != options.model_name:
        message = f"no model {shown(request.model)}: this server has {options.model_name}"
        raise Refusal(404, message, code="model_not_found", param="model")
    return request, _check_parameters(request, options)


def _shape_refusal(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # The last ones name members of a union, which clients do not know.
    path = [str(step) for step in first["loc"]]
    where = ".".join(path[:8])
    return Refusal(400, f"{where}: {first['msg'][:200]}", code="invalid_type", param=path[0])


def _check_parameters(request: ChatRequest, options: ServeOptions) -> tuple[str, ...]:
    """Refuse what would change the answer and cannot be done."""
    ignored = []
    if request.temperature:
        if not options.ignore_sampling:
            raise unsupported(
                "temperature",
                "answers are greedy: set temperature to 0 or leave it out, or start the server "
                "with --ignore-sampling",
            )
        ignored.append("temperature")
    if request.n not in (None, 1):
        raise unsupported("n", "one answer a request: n must be 1")
    for name in ("presence_penalty", "frequency_penalty", "logit_bias", "logprobs"):
        if getattr(request, name):
            raise unsupported(name, f"{name} is not supported: leave it out")
    if request.functions or request.tool_choice not in (None, "none", "auto"):
        raise unsupported("tool_choice", "this model calls no tools: leave tool_choice out")
    if request.tools:
        # With "auto" a model may answer without a tool, which is what this one always does.
        ignored.append("tools")
    return tuple(ignored)
