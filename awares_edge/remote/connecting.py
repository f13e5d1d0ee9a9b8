"""`connect`: find out what answers at an address, and how it is asked."""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from awares_edge.controller.askable import About
from awares_edge.errors import InputError
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.profiles import get_profile, make_profile
from awares_edge.remote.address import Address
from awares_edge.remote.exchange import StatusError, TooLong
from awares_edge.remote.failures import explain, unusable
from awares_edge.remote.http import NO_LIMITS, Server
from awares_edge.remote.key import KEY_VARIABLE
from awares_edge.remote.link import Link
from awares_edge.remote.model import RemoteModel
from awares_edge.remote.pictures import PictureFormat
from awares_edge.remote.servers import OWN, Served, choose
from awares_edge.schema import parse_json


class UnknownProtocol(InputError):
    """A server does not say how its model is asked, and nobody else does."""


MAX_ABOUT_BYTES = 4 << 20
"""Longest list of models, or description of a server, in bytes."""
_SHORT = 64


def connect(
    url: str,
    *,
    model: str | None = None,
    protocol: str | None = None,
    key: str | None = None,
    timeout: float = 120.0,
    pictures: PictureFormat = "png",
) -> RemoteModel:
    """Connect to a model behind an OpenAI-compatible endpoint.

    Args:
        url: the server's address up to /v1; a path that is left out is /v1.
        model: its name there; None where the server has only one.
        protocol: profile that the model was trained with: a name, or the path of a .toml or .json
            file; None for the one that the server names, which only our own does.
        key: bearer token; None for the one in the environment variable AWARES_EDGE_ENDPOINT_KEY.
        timeout: seconds without a byte from the server after which a request is given up.
            `AskOptions.timeout` bounds a whole question.
        pictures: how pictures are sent: "png" unchanged, "jpeg" for slow networks.

    Raises:
        InputError: an argument cannot be used, the server has no such model, or it does not name a
            profile.
        EndpointError: the server cannot be reached, or is not OpenAI-compatible.
    """
    address = Address.parse(url)
    if not address.path:
        address = Address.parse(f"{address.url}/v1")
    if not timeout > 0:
        raise InputError("timeout must be above 0 seconds")
    if pictures not in get_args(PictureFormat):
        raise InputError(f"pictures must be 'png' or 'jpeg', not {pictures!r}")
    named = get_profile(protocol) if protocol else None
    key = os.environ.get(KEY_VARIABLE, "") if key is None else key
    server = Server(address, key, silence=timeout)
    try:
        served = choose(_read(server, f"{address.url}/models"), model, address.url)
        profile = _profile(server, served, named)
    except BaseException:
        server.close()
        raise
    return RemoteModel(Link(server, served), profile, _about(address, served), pictures)


def _read(server: Server, url: str) -> dict[str, Any]:
    try:
        body = server.read("GET", url, None, NO_LIMITS, MAX_ABOUT_BYTES)
        return parse_json(body.decode(), "the list")
    except (UnicodeDecodeError, InputError):
        raise unusable(url, "it is not JSON") from None
    except (StatusError, TooLong, OSError, http.client.HTTPException) as error:
        raise explain(error, url) from error


def _profile(server: Server, served: Served, named: ProtocolProfile | None) -> ProtocolProfile:
    """The profile in force: our own server's, or the one that the caller names."""
    url = server.address.url
    if served.own is None:
        if named is None:
            raise UnknownProtocol(
                f"{url} does not say how its model is asked: name its protocol profile"
            )
        return named
    props = _read(server, f"{server.address.root}/props")
    about = props.get("awares")
    data = about.get("profile") if isinstance(about, dict) else None
    if not isinstance(data, Mapping):
        raise unusable(url, "its server does not report its profile: update the server")
    profile = make_profile(data, f"the profile of {url}")
    # What is written about a profile changes with versions, and nothing else with it.
    if named is not None and replace(named, about=profile.about) != profile:
        raise InputError(
            f"{url} asks its model by the profile {profile.name!r}: name that one or none"
        )
    return profile


def _about(address: Address, served: Served) -> About:
    own = served.own or {}

    def reported(name: str, otherwise: str) -> str:
        value = own.get(name)
        return value[:_SHORT] if isinstance(value, str) and value else otherwise

    return About(
        reported("runtime", served.kind.name),
        reported("precision", "unknown"),
        reported("device", "unknown"),
        served.name,
        address.url,
        OWN if served.own is not None else served.kind.name,
    )
