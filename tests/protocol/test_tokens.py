"""Texts that a checkpoint's tokenizer must hold as one token."""

from pathlib import Path

import pytest
from tokenizers import AddedToken

import awares_edge
from awares_edge.errors import InputError
from awares_edge.protocol import PROFILES
from awares_edge.runtimes.null import byte_tokenizer

NANO = Path(awares_edge.__file__).parents[1] / "checkpoints" / "nano"
MESSAGE = "the profile deepeyes needs <tool_call> as one token.*choose the profile"


def with_tokens(*tokens):
    tokenizer = byte_tokenizer()
    tokenizer._tokenizer.add_tokens(list(tokens))
    return tokenizer


def test_a_tokenizer_that_holds_them():
    tokenizer = with_tokens("<tool_call>", "</tool_call>")
    tokenizer.require_tokens(PROFILES["deepeyes"].tokens, "deepeyes")
    assert tokenizer.decode(tokenizer.encode("a <tool_call>")) == "a <tool_call>"


@pytest.mark.parametrize("tokens", [(), ("</tool_call>",)])
def test_a_tokenizer_that_lacks_one(tokens):
    with pytest.raises(InputError, match=MESSAGE):
        with_tokens(*tokens).require_tokens(PROFILES["deepeyes"].tokens, "deepeyes")


def test_special_tokens_are_not_counted_since_text_never_becomes_them():
    tokenizer = byte_tokenizer()
    tokenizer._tokenizer.add_special_tokens([AddedToken("<tool_call>", special=True)])
    with pytest.raises(InputError, match=MESSAGE):
        tokenizer.require_tokens(("<tool_call>",), "deepeyes")


def test_export_refuses_a_checkpoint_of_another_profile(tmp_path):
    pytest.importorskip("onnx")
    from awares_edge.export import export_checkpoint

    with pytest.raises(InputError, match=MESSAGE):
        export_checkpoint(NANO, tmp_path / "out", profile=PROFILES["deepeyes"])
    assert list(tmp_path.iterdir()) == []


def test_the_torch_runtime_refuses_it_too():
    pytest.importorskip("torch")
    with pytest.raises(InputError, match=MESSAGE):
        awares_edge.load(NANO, runtime="torch", protocol="deepeyes")


def test_scripted_models_take_every_profile():
    with awares_edge.scripted(["<answer>red</answer>"], protocol="deepeyes") as model:
        assert model.protocol.tokens == ("<tool_call>", "</tool_call>")
