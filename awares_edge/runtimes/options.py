"""How a model is to be loaded, and the checks that every backend makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from awares_edge.errors import InputError


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How to load a model.

    Attributes:
        device: "cpu", "cuda", "cuda:1", ... (`runtimes.devices`); None for the best one that is
            usable here.
        threads: CPU threads; None for one for each core that this process may use.
        context: most KV cells of a session; None for the runtime's own limit.
        dtype: what a checkpoint computes in, "float32", "float16" or "bfloat16"; None for float32.
            A bundle has its precision already.
    """

    device: str | None = None
    threads: int | None = None
    context: int | None = None
    dtype: str | None = None


def choose_context(wanted: int | None, most: int, default: int | None = None) -> int:
    """KV cells of a session.

    Args:
        wanted: the context asked for; None for `default`.
        most: what the model or the engine allows.
        default: what to use where nothing was asked for; None for `most`.

    Raises:
        InputError: `wanted` is out of range.
    """
    if wanted is None:
        return min(most, default or most)
    if not 1 <= wanted <= most:
        raise InputError(f"a context of {wanted} is out of range: it must be between 1 and {most}")
    return wanted
