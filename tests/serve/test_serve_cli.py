"""The commands `serve` and `mcp`: what they refuse before anything is loaded."""

import socket

import pytest

import awares_edge
from awares_edge import extras
from awares_edge.apps.cli import main
from awares_edge.apps.serve import TOKEN


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)

    def never(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("awares_edge.apps.serve.load_model", never)
    monkeypatch.setattr("awares_edge.apps.mcp.load_model", never)


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_other_machines_need_a_token(capsys):
    assert TOKEN in refused(capsys, "serve", "--host", "0.0.0.0")


@pytest.mark.parametrize("token", ["short", "with a \u20ac sign in it"])
def test_a_weak_token_is_refused(capsys, monkeypatch, token):
    monkeypatch.setenv(TOKEN, token)
    assert "16 ASCII characters" in refused(capsys, "serve", "--host", "0.0.0.0")


def test_a_token_file_must_be_there_and_ascii(capsys, tmp_path):
    file = tmp_path / "token"
    assert "No such file" in refused(capsys, "serve", "--token-file", str(file))
    file.write_bytes(b"\xff" * 20)
    assert "must be ASCII" in refused(capsys, "serve", "--token-file", str(file))


def test_a_port_in_use_is_named_before_a_model_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(capsys, "serve", "--port", str(port))
    assert f"127.0.0.1:{port}: Address already in use" in message


@pytest.mark.parametrize("option", ["--timeout", "--drain"])
def test_times_must_be_positive(capsys, option):
    assert "above 0 seconds" in refused(capsys, "serve", option, "0")


@pytest.mark.parametrize(("command", "extra"), [("serve", "serve"), ("mcp", "mcp")])
def test_what_is_not_installed_is_named_with_its_line(capsys, monkeypatch, command, extra):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert f"pip install 'awares-edge[{extra}]'" in refused(capsys, command)


def test_the_root_must_be_a_folder(capsys, tmp_path):
    pytest.importorskip("mcp", reason="pip install 'awares-edge[mcp]'")
    assert "no such folder" in refused(capsys, "mcp", "--root", str(tmp_path / "none"))


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_a_folder_that_others_can_write_to_is_refused_before_a_model_is_loaded(
    capsys, tmp_path, command
):
    pytest.importorskip("mcp", reason="pip install 'awares-edge[mcp]'")
    tmp_path.chmod(0o777)
    assert "chmod 700" in refused(capsys, command, "--save-kv", str(tmp_path))


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_a_model_whose_pictures_cannot_be_saved_is_refused(capsys, monkeypatch, tmp_path, command):
    pytest.importorskip("mcp", reason="pip install 'awares-edge[mcp]'")
    model = awares_edge.scripted()
    monkeypatch.setattr(type(model.runtime), "saving", "")
    monkeypatch.setattr(f"awares_edge.apps.{command}.load_model", lambda *_: model)
    port = ["--port", "0"] if command == "serve" else []
    message = refused(capsys, command, *port, "--save-kv", str(tmp_path / "kv"))
    assert "the runtime null cannot save" in message
