"""JSON answers, held to a schema while they are generated (llguidance)."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from awares_edge.controller import Model
from awares_edge.httpd.refusals import Refusal
from awares_edge.schema import shown
from awares_edge.serve.options import MAX_SCHEMA_BYTES
from awares_edge.serve.requests import ResponseFormat

# Compact JSON: a model that may write white space may write it for ever.
_COMPACT = {"whitespace_flexible": False}


class JsonAnswers:
    """Makes grammars for one model's tokens."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokens: Any = None
        self._lock = threading.Lock()

    def grammar(self, schema: dict[str, Any]) -> JsonGrammar:
        """A grammar of answers that match `schema`.

        Raises:
            Refusal: it cannot be honoured.
        """
        matcher = LLMatcher(self._tokenizer(), _compiled(schema), log_level=0)
        if error := matcher.get_error():
            raise _refusal(f"this schema cannot be honoured: {shown(error.splitlines()[0], 200)}")
        return JsonGrammar(matcher, self._model.runtime.vocabulary, self._model.special.eos)

    def _tokenizer(self) -> Any:
        with self._lock:
            if self._tokens is None:
                text, eos = self._model.tokenizer.to_json(), list(self._model.special.eos)
                self._tokens = LLTokenizer(text, eos_token=eos)
            return self._tokens


def json_schema(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema that a request holds its answer to; None for free text.

    Raises:
        Refusal: it is missing, too large, or not of an object.
    """
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None or wanted.json_schema.schema_ is None:
        raise _refusal("response_format.json_schema.schema is missing")
    schema = wanted.json_schema.schema_
    try:
        size = len(json.dumps(schema))
    except RecursionError:
        raise _refusal("the schema is nested too deeply") from None
    if size > MAX_SCHEMA_BYTES:
        raise _refusal(f"the schema has over {MAX_SCHEMA_BYTES:,} bytes: make it smaller")
    # OpenAI's rule too; here, a list of texts would read as a call for crops.
    if schema.get("type") != "object":
        raise _refusal('the schema must be of an object: "type": "object"')
    return schema


def instructions(schema: dict[str, Any]) -> str:
    """What stands behind the question about the form of the answer."""
    if set(schema) == {"type"}:
        return "Answer with a JSON object."
    return f"Answer with a JSON object that matches this schema: {json.dumps(schema)}"


def _compiled(schema: dict[str, Any]) -> str:
    try:
        return str(LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_COMPACT))
    except ValueError as error:
        raise _refusal(f"this schema cannot be read: {shown(str(error), 200)}") from None


def _refusal(message: str) -> Refusal:
    return Refusal(400, message, code="invalid_schema", param="response_format")


class JsonGrammar:
    """One answer's grammar: an `AnswerGrammar` of the controller."""

    def __init__(self, matcher: Any, vocabulary: int, eos: Sequence[int]) -> None:
        self._matcher, self._vocabulary, self._eos = matcher, vocabulary, list(eos)
        self._ids: list[int] = []

    def allowed(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        mask = np.zeros(self._vocabulary, dtype=bool)
        if not self._go_to(list(ids)):
            return mask
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        known = np.unpackbits(bits, bitorder="little")[: self._vocabulary].astype(bool)
        mask[: len(known)] = known
        mask[self._eos] = self._matcher.is_accepting()
        return mask

    def _go_to(self, ids: list[int]) -> bool:
        """Bring the matcher to `ids`; False where no answer begins with them."""
        pairs = enumerate(zip(self._ids, ids, strict=False))
        same = next((i for i, (a, b) in pairs if a != b), min(len(self._ids), len(ids)))
        if same < len(self._ids):
            self._matcher.rollback(len(self._ids) - same)
            del self._ids[same:]
        # A token that does not fit would break the matcher for good: they are tried first.
        fits = self._matcher.validate_tokens(ids[same:])
        self._matcher.consume_tokens(ids[same : same + fits])
        self._ids += ids[same : same + fits]
        return len(self._ids) == len(ids)
