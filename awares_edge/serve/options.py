"""How to serve: names, limits, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from awares_edge.errors import InputError
from awares_edge.httpd.limits import check_token

MAX_BODY_BYTES = 32 << 20
MAX_PIXELS = 40_000_000
MAX_IMAGES = 16
MAX_MESSAGES = 256
MAX_PARTS = 64
MAX_SCHEMA_BYTES = 65_536
MAX_STOPS = 4
MAX_STOP = 256
MAX_ARRIVING = 8
"""Requests whose bodies may arrive beside those that run and wait."""
CELL_BYTES = 128 << 10
"""Memory of one KV cell, where the model's shape is not known: enough for 7B in float32."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve one model.

    Attributes:
        model_name: `id` of the model in `/v1/models`; requests may leave it out, but not name
            another.
        token: what clients must send as `Authorization: Bearer ...`; None for no check.
        hosts: names that the Host header may carry beside IP addresses and `localhost`.
        parallel: questions that are computed at the same time.
        waiting: questions that may wait; further ones get 429.
        timeout: seconds from a request's arrival to the end of its answer.
        drain: seconds that running questions may take after SIGTERM.
        header_seconds, body_seconds: for a request's header and body to arrive; the second also
            for a client that does not read its response.
        max_body: bytes of a request.
        max_pixels: pixels of all pictures of a request together.
        max_images: pictures of a request.
        max_tokens: tokens of an answer, where the request names no limit; it may not ask for more.
        keep_pictures: pictures whose KV is kept for further questions; 0 keeps none.
        keep_bytes: most memory of kept pictures, as estimated from their pixels and KV cells.
        cell_bytes: memory of one KV cell, for that estimate.
        save_kv: folder that kept pictures are saved to, for questions after a restart; None saves
            none.
        save_kv_bytes: most bytes of all files there.
        ignore_sampling: answer greedily where a request asks for sampling, instead of refusing.
    """

    model_name: str = "awares-edge"
    token: str | None = None
    hosts: tuple[str, ...] = ()
    parallel: int = 1
    waiting: int = 16
    timeout: float = 120.0
    drain: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    max_body: int = MAX_BODY_BYTES
    max_pixels: int = MAX_PIXELS
    max_images: int = MAX_IMAGES
    max_tokens: int = 1024
    keep_pictures: int = 8
    keep_bytes: int = 1 << 30
    cell_bytes: int = CELL_BYTES
    save_kv: Path | None = None
    save_kv_bytes: int = 4 << 30
    ignore_sampling: bool = False

    def __post_init__(self) -> None:
        if not self.model_name.isprintable() or not 1 <= len(self.model_name) <= 255:
            raise InputError("the model's name must have 1 to 255 printable characters")
        check_token(self.token)
        least = {"parallel": 1, "max_body": 1024, "max_pixels": 1, "max_images": 1, "max_tokens": 1}
        for name in (
            *("waiting", "keep_pictures", "keep_bytes", "cell_bytes", "save_kv_bytes"),
            *least,
        ):
            if getattr(self, name) < least.get(name, 0):
                raise InputError(f"{name} must be at least {least.get(name, 0)}")
        for name in ("timeout", "drain", "header_seconds", "body_seconds"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0 seconds")
