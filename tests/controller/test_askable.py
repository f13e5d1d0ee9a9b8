"""What can be asked: a model here and one on a server have one interface."""

import inspect

import pytest

import awares_edge
from awares_edge import Askable, Model, OpenPicture, Picture
from awares_edge.remote.model import OwnPicture, PlainPicture, RemoteModel


def members(interface):
    """Names of an interface's methods and properties."""
    return {
        name
        for name, value in vars(interface).items()
        if (inspect.isfunction(value) or isinstance(value, property))
        and (not name.startswith("_") or name in ("__enter__", "__exit__"))
    }


@pytest.mark.parametrize(("interface", "kind"), [
    (Askable, Model), (Askable, RemoteModel),
    (OpenPicture, Picture), (OpenPicture, PlainPicture), (OpenPicture, OwnPicture),
])  # fmt: skip
def test_they_satisfy_it(interface, kind):
    assert {"ask", "close", "__enter__"} <= members(interface)
    for name in members(interface):
        wanted = inspect.getattr_static(interface, name)
        if inspect.isfunction(wanted):
            found = inspect.signature(getattr(kind, name)).parameters
            expected = inspect.signature(wanted).parameters
            assert [*found][:-1] == [*expected][:-1], name
            assert [p.default for p in found.values()] == [p.default for p in expected.values()]


def test_what_a_model_here_says_of_itself():
    with awares_edge.scripted(["red"], protocol="nano") as model:
        assert (model.about.runtime, model.about.device, model.about.address) == ("null", "cpu", "")
        assert model.protocol.name == "nano"
