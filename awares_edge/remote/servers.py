"""Which server it is, and what differs between them.

Servers name themselves as the owner of their models. What is not OpenAI's is sent only to the
server that knows it: greedy decoding must not be bent by a penalty (vLLM and SGLang take the one in
a checkpoint's generation_config.json, which for Qwen2.5-VL is 1.05), a stop text must stay in the
reply, and a grammar has another name everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from awares_edge.errors import EndpointError, InputError
from awares_edge.schema import shown

MAX_MODELS = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    """What one server understands besides OpenAI's fields.

    Attributes:
        name: for messages and tables.
        extra: fields of every request.
        grammar: fields that hold a reply to a grammar in GBNF; None where there are none.
    """

    name: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    grammar: Callable[[str], dict[str, Any]] | None = None


OWN = "awares-edge"
"""Name of our own server, which runs the loop itself."""
PLAIN = Kind("endpoint")
KINDS = {
    "llamacpp": Kind(
        "llama.cpp server",
        {"repeat_penalty": 1.0, "cache_prompt": True, "reasoning_format": "none"},
        lambda text: {"grammar": text},
    ),
    "vllm": Kind(
        "vllm",
        {"repetition_penalty": 1.0, "include_stop_str_in_output": True},
        lambda text: {"structured_outputs": {"grammar": text}},
    ),
    "sglang": Kind(
        "sglang",
        {"repetition_penalty": 1.0, "no_stop_trim": True},
        lambda text: {"ebnf": text},
    ),
}


@dataclass(frozen=True, slots=True)
class Served:
    """One model of a server.

    Attributes:
        name: as requests name it.
        kind: the server.
        context: most tokens of a conversation; None where the server does not say.
        own: what our own server says about it; None for other servers.
    """

    name: str
    kind: Kind
    context: int | None
    own: Mapping[str, Any] | None


def choose(body: Mapping[str, Any], wanted: str | None, url: str) -> Served:
    """One of the models that a server lists.

    Args:
        body: its answer to GET /models.
        wanted: name of the model; None where there is only one.

    Raises:
        EndpointError: the body is not a list of models.
        InputError: it has no such model, or several and none is named.
    """
    data = body.get("data")
    if not isinstance(data, list) or not 0 < len(data) <= MAX_MODELS:
        raise EndpointError(f"{url} lists no models: check the address (up to /v1)")
    entries = {entry["id"]: entry for entry in data if _is_model(entry)}
    if wanted is None and len(entries) == 1:
        wanted = next(iter(entries))
    if wanted is None or wanted not in entries:
        names = ", ".join(shown(name)[1:-1] for name in list(entries)[:8])
        problem = "several models, name one" if wanted is None else f"no model {shown(wanted)}"
        raise InputError(f"{url} has {problem}: {names}")
    return _served(wanted, entries[wanted])


def _is_model(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str) and bool(entry["id"])


def _served(name: str, entry: Mapping[str, Any]) -> Served:
    kind = KINDS.get(str(entry.get("owned_by")), PLAIN)
    meta = entry.get("meta")
    sizes = [entry.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None]
    context = next((size for size in sizes if type(size) is int and size > 0), None)
    own = entry.get("awares")
    return Served(name, kind, context, own if isinstance(own, dict) else None)
