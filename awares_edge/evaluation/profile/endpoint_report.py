"""What the page of a run says about models on servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awares_edge.remote.servers import OWN

ENDPOINT_NOTE = """Questions to an endpoint are timed here, from asking to the end of the answer,
with the network between. Each turn is timed here too: until its crops are requested, or until the
end. Phases marked "server" are what the server reports; TPOT is computed from its decoding where it
reports it, else from when text arrived. What is blank was neither measured nor reported: a server's
processor time, memory, energy and limits are not measured from here. Pictures sent to endpoints do
not follow the seed: a server may keep those of an earlier run."""


def one_of_each_endpoint(variants: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first variant of each model on a server."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for variant in variants:
        if "server" in variant:
            fields = variant["job"]["variant"]
            found.setdefault((fields["path"], fields["model"]), variant)
    return list(found.values())


def endpoint_fact(variant: dict[str, Any]) -> tuple[str, str]:
    """What is known of a server, and whose replies its model gave."""
    fields = variant["job"]["variant"]
    # No page of ours holds a link.
    address = fields["path"].partition("://")[2]
    parts = [f"{fields['model']} at {address}", variant["server"]]
    if variant["server"] == OWN:
        parts.append(f"{variant['runtime']} on {variant['device']}")
    if not variant["job"]["free"]:
        parts.append(f"replies: {endpoint_replies(variant['server'])}")
    return "endpoint", ", ".join(parts)


def endpoint_replies(server: str) -> str:
    """How calls and answers of a run that is not free come about."""
    if server == OWN:
        return "crops given with the question, the model's own answer"
    return "as scripted; the server generates as many tokens, whatever they are"
