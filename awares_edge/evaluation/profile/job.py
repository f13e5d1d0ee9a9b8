"""What one process measures, as it is sent to that process."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from awares_edge.schema import shown

ProfileMode: TypeAlias = Literal["awares", "again", "full", "low", "always-full", "reference"]
MODES: tuple[ProfileMode, ...] = get_args(ProfileMode)


@dataclass(frozen=True, slots=True)
class Variant:
    """What is measured; two runs are compared by these fields.

    Attributes:
        path: bundle or checkpoint folder; where `model` is given, the URL of a server, up to /v1.
        mode: "awares" (first view, call, crops, answer); "again" (a second question about a
            picture whose KV is kept); "full" and "low" (no call); "always-full" (a call for the
            whole picture); "reference" (two `generate` calls of transformers, nothing kept).
        device: where to compute; None for the best that the runtime can use.
        threads: CPU threads; None for one a core.
        max_pixels: area that a picture is scaled down to; None for the protocol's own limit.
        dtype: what a checkpoint computes in; None for float32.
        model: name of the model on a server; None for a model on this machine.
    """

    path: str
    mode: ProfileMode
    runtime: str | None = None
    protocol: str | None = None
    device: str | None = None
    threads: int | None = None
    max_pixels: int | None = None
    dtype: str | None = None
    model: str | None = None

    @property
    def name(self) -> str:
        """The folder's name; of a model on a server, which model and where."""
        return source_name(self.path, self.model)


def source_name(path: str, model: str | None) -> str:
    """What people call the source of a variant, whose fields these are."""
    if model is None:
        return Path(path).resolve().name
    # Untrusted text. The hub's names have an owner, llama.cpp's are the paths of files.
    name = model.rstrip("/").rpartition("/")[2]
    return f"{shown(name)[1:-1]} at {shown(urlsplit(path).netloc)[1:-1]}"


@dataclass(frozen=True, slots=True)
class Job:
    """How a variant is measured.

    Attributes:
        side: pixels along each side of the noise pictures.
        crops: ids that the scripted call names.
        answer_tokens: length of the scripted answer.
        free: leave calls and answers to the model.
        warmup, iterations: questions that are dropped, and kept.
        sustained_s: go on for so long afterwards.
        cpus: processors to stay on; empty for any.
    """

    variant: Variant
    side: int
    crops: tuple[str, ...]
    answer_tokens: int
    free: bool
    warmup: int
    iterations: int
    seed: int
    sustained_s: float = 0.0
    cpus: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Job:
        """What `to_dict` gave, after a passage through JSON."""
        values = {field.name: data[field.name] for field in fields(cls)}
        return cls(
            **{
                **values,
                "variant": Variant(**data["variant"]),
                "crops": tuple(data["crops"]),
                "cpus": tuple(data["cpus"]),
            }
        )
