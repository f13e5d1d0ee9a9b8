"""Loading a bundle whose parts contradict each other."""

import json

import pytest

import awares_edge
from awares_edge.api import embedded_bundle
from awares_edge.errors import BundleError
from awares_edge.spec import EMBEDDING_NAME, TOKENIZER_NAME
from tests.support.forged import forge


def test_special_tokens_that_are_not_the_tokenizers(tmp_path):
    root = forge(tmp_path / "b", change=lambda body: body["tokens"].update(im_end=5))
    with pytest.raises(BundleError, match="other special tokens than the manifest"):
        awares_edge.load(root)


def test_more_tokens_than_the_model_has(tmp_path):
    body = json.loads((embedded_bundle() / TOKENIZER_NAME).read_text())
    first = {**body["added_tokens"][0], "special": False}
    body["added_tokens"] += [{**first, "id": 512 + i, "content": f"<new{i}>"} for i in range(9)]
    root = forge(tmp_path / "b", {TOKENIZER_NAME: json.dumps(body).encode()})
    with pytest.raises(BundleError, match="521 tokens, the model 512"):
        awares_edge.load(root)


def test_an_empty_embedding_is_not_an_interruption(tmp_path):
    root = forge(tmp_path / "b", {EMBEDDING_NAME: b""})
    with pytest.raises(BundleError, match=r"is not an array|beyond the end"):
        awares_edge.load(root)


def test_a_model_says_how_much_memory_a_kv_cell_takes():
    # nano: keys and values of 4 layers with 6 heads of 32, and 192 features, in float32.
    with awares_edge.load() as model, awares_edge.scripted() as scripted:
        assert model.cell_bytes == 4 * (2 * 4 * 6 * 32 + 192)
        assert scripted.cell_bytes is None
