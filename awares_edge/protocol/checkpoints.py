"""Which profile belongs to which published checkpoint."""

from __future__ import annotations

from pathlib import PurePath

from awares_edge.protocol import PROFILES, ProtocolProfile

DEFAULT_PROFILE = "paper"
"""For checkpoints that are not in the table."""

# Repository on the Hugging Face hub to profile. The weights of the paper have two published
# prompts: the model card's quick start (readme) and the paper's own, which offers one region more
# (paper). The card is what comes with the weights, so it is taken.
CHECKPOINTS: dict[str, str] = {
    "Kimhi/AWARES-Qwen2.5-VL-7B": "readme",
}


def published_profile(checkpoint: str | PurePath) -> ProtocolProfile | None:
    """The profile of a published checkpoint; None for one that is not in the table.

    Args:
        checkpoint: a repository's id, "owner/name", or a folder. A mirror or a folder is known by
            the repository's name; upper and lower case are the same, as on the hub.
    """
    name = PurePath(checkpoint).name.lower()
    for repository, profile in CHECKPOINTS.items():
        if name == repository.split("/")[1].lower():
            return PROFILES[profile]
    return None
