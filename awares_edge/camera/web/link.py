"""Under which addresses other machines reach this one, and the link as a QR code."""

from __future__ import annotations

import io
import ipaddress
import socket
from urllib.parse import quote

from awares_edge.httpd.loop import origin_of

# Addresses for documentation (RFC 5737, RFC 3849): they choose a route, and nothing is sent.
_PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def local_addresses() -> list[str]:
    """Addresses of this machine in its networks, the one of its default route first."""
    found = [address for family, probe in _PROBES if (address := _route(family, probe))]
    try:
        named = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
        found += [str(entry[4][0]) for entry in named]
    except OSError:  # the name is not in /etc/hosts
        pass
    return [address for address in dict.fromkeys(found) if _is_reachable(address)]


def _route(family: socket.AddressFamily, probe: str) -> str | None:
    """The address that packets to `probe` would come from; none are sent (UDP)."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probing:
            probing.connect((probe, 9))
            return str(probing.getsockname()[0])
    except OSError:
        return None


def _is_reachable(address: str) -> bool:
    """Whether it is neither loopback nor link-local (those need a zone)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified)


def link_of(host: str, port: int, *, secure: bool, token: str | None) -> str:
    """The link to open. The token is behind "#": a browser sends that to no server, and the page
    takes it out of the address bar."""
    origin = origin_of(host, port, "https" if secure else "http")
    return f"{origin}/" if token is None else f"{origin}/#token={quote(token, safe='')}"


def qr_text(link: str) -> str:
    """A QR code of half-block characters, for a dark or a light terminal."""
    import segno

    out = io.StringIO()
    segno.make(link, error="m", micro=False).terminal(out, border=2, compact=True)
    return out.getvalue()
