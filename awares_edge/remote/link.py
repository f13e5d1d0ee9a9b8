"""Chat completions of one model of a server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Generator
from typing import Any

from awares_edge.controller.generated import Limits
from awares_edge.errors import Interrupted
from awares_edge.remote.chunks import ChunkReader, Piece
from awares_edge.remote.events import chunks
from awares_edge.remote.exchange import StatusError, TooLong
from awares_edge.remote.failures import explain
from awares_edge.remote.http import Server
from awares_edge.remote.servers import Served


class Link:
    """Chat completions of one model of a server."""

    def __init__(self, server: Server, served: Served) -> None:
        self.server, self.served = server, served

    @property
    def url(self) -> str:
        """Where chat completions are asked for."""
        return f"{self.server.address.url}/chat/completions"

    def reader(self) -> ChunkReader:
        """A reader for one reply."""
        return ChunkReader(self.url)

    def complete(
        self,
        body: dict[str, Any],
        reader: ChunkReader,
        limits: Limits,
        partial: Callable[[], str] = str,
    ) -> Generator[tuple[Piece, dict[str, Any]], None, None]:
        """Ask for one reply: its pieces, each with its chunk.

        Args:
            body: without the model's name and what makes it a stream.
            reader: reads the reply, and has all of it at the end.
            partial: the text so far, for `Interrupted`.

        Raises:
            EndpointError, ContextOverflow: there is no usable answer.
            Interrupted: its time is up, or its caller cancelled.
        """
        url = self.url
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        data = json.dumps({"model": self.served.name, **body, **stream}).encode("ascii")
        try:
            with self.server.request("POST", url, data, limits) as exchange:
                for chunk in chunks(exchange, url):
                    limits.check("")
                    yield reader.read(chunk), chunk
        except Interrupted as error:
            error.partial = error.partial or partial()
            raise
        except (StatusError, TooLong, OSError, http.client.HTTPException) as error:
            raise explain(error, url) from error
