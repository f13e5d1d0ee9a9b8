"""Optional packages: what is said of one that is not installed, and how they are imported."""

from __future__ import annotations

import signal

import pytest

from awares_edge import extras
from awares_edge.errors import RuntimeUnavailable

NEEDS = {"torch": "awares-edge[torch]", "transformers": "awares-edge[torch]", "gguf": "gguf>=0.17"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    names: set[str] = set()
    monkeypatch.setattr(extras, "find_spec", lambda name: object() if name in names else None)
    return names


def test_what_is_missing_is_named_with_one_install_line(installed: set[str]) -> None:
    with pytest.raises(RuntimeUnavailable) as caught:
        extras.require("a matrix", NEEDS)
    assert str(caught.value) == (
        "a matrix needs torch, transformers, gguf: pip install 'awares-edge[torch]' 'gguf>=0.17'"
    )


def test_what_is_there_is_not_named(installed: set[str]) -> None:
    installed.update({"torch", "gguf"})
    with pytest.raises(RuntimeUnavailable, match=r"^x needs transformers: pip install 'awares-"):
        extras.require("x", NEEDS)
    installed.add("transformers")
    extras.require("x", NEEDS)


def test_one_of_two_will_do(installed: set[str]) -> None:
    assert extras.missing(["a or b"]) == ("a or b",)
    installed.add("b")
    assert extras.missing(["a or b"]) == ()


def test_a_plain_name_is_not_quoted() -> None:
    assert extras.install_line("awares-edge") == "pip install awares-edge"


def test_a_signal_within_the_import_of_onnx_waits_for_its_end(
    monkeypatch: pytest.MonkeyPatch, installed: set[str]
) -> None:
    """protobuf aborts the process where a handler raises within it."""
    installed.add("onnx")
    happened: list[str] = []

    def load(name: str) -> None:
        signal.raise_signal(signal.SIGINT)
        happened.append(name)

    monkeypatch.setattr(extras, "import_module", load)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        extras.require("exporting", {"onnx": "awares-edge[export]"})
    assert happened == ["onnx"]
    assert signal.getsignal(signal.SIGINT) is before
