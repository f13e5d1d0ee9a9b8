"""Where a server is, and a connection to it."""

from __future__ import annotations

import http.client
import select
import ssl
import urllib.parse
import urllib.request
from dataclasses import dataclass

from awares_edge.errors import InputError


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        url: base URL with its path, without a slash at the end.
        root: the same without the path.
        path: such as "/v1"; may be empty.
    """

    url: str
    root: str
    path: str
    secure: bool
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Address:
        """
        Raises:
            InputError: it is not an http or https address, or it holds a user name, a query or a
                fragment.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        plain = url.isascii() and url.isprintable() and " " not in url
        if not host or not plain or parts.scheme not in ("http", "https"):
            raise InputError(f"{url!r} is not the address of a server: write http://HOST:PORT/v1")
        if "@" in parts.netloc:
            raise InputError("the server's address must not hold a user name or a password")
        if parts.query or parts.fragment:
            raise InputError(f"{url!r} has more than a server's address: end it after /v1")
        root = f"{parts.scheme}://{parts.netloc}"
        path = parts.path.rstrip("/")
        secure = parts.scheme == "https"
        return cls(root + path, root, path, secure, host, port or (443 if secure else 80))

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        """A connection that is not open yet; TLS is verified against the system's authorities."""
        proxy = self._proxy()
        host, port = (self.host, self.port) if proxy is None else (proxy.host, proxy.port)
        if not self.secure:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        if proxy is not None:
            connection.set_tunnel(self.host, self.port)
        return connection

    def target(self, url: str) -> str:
        """What a request line asks for: a proxy for plain HTTP wants the whole URL."""
        return url if self._proxy() and not self.secure else url.removeprefix(self.root)

    def _proxy(self) -> Address | None:
        """The proxy that the environment names for this server (http_proxy, https_proxy,
        no_proxy)."""
        found = urllib.request.getproxies().get("https" if self.secure else "http")
        if not found or urllib.request.proxy_bypass(f"{self.host}:{self.port}"):
            return None
        return Address.parse(found if "://" in found else f"http://{found}")


def is_idle(connection: http.client.HTTPConnection) -> bool:
    """Whether a kept connection is still open: one that can be read from was closed."""
    try:
        return not select.select([connection.sock], [], [], 0)[0]
    except (OSError, ValueError, TypeError):
        return False
