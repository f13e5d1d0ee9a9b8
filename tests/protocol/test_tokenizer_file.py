"""Untrusted tokenizers: Qwen2.5-VL's kind, or one line."""

import json

import pytest

from awares_edge.api import embedded_bundle
from awares_edge.errors import BundleError
from awares_edge.protocol import TextTokenizer, tokenizer_file
from awares_edge.spec import TOKENIZER_NAME

SEED = (embedded_bundle() / TOKENIZER_NAME).read_text()


@pytest.fixture
def written(tmp_path):
    def write(change):
        body = json.loads(SEED)
        change(body)
        (tmp_path / TOKENIZER_NAME).write_text(json.dumps(body))
        return tmp_path / TOKENIZER_NAME

    return write


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizer"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 99}},
            "normalizer",
        ),
        ({"decoder": {"type": "Fuse"}}, "decoder"),
        ({"decoder": None}, "decoder"),
        ({"pre_tokenizer": None}, "pre_tokenizer"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}, "model"),
    ],
)
def test_parts_that_qwen_does_not_have(written, change, part):
    with pytest.raises(BundleError, match=f"not Qwen2.5-VL's kind of tokenizer .{part}"):
        TextTokenizer.from_file(written(lambda body: body.update(change)))


def test_a_dropout_is_refused_and_a_pattern_may_not_be_long(written):
    with pytest.raises(BundleError, match=r"\(model\)"):
        TextTokenizer.from_file(written(lambda body: body["model"].update(dropout=0.5)))

    def split(pattern):
        return lambda body: body["pre_tokenizer"]["pretokenizers"][0].update(
            pattern={"Regex": pattern}
        )

    TextTokenizer.from_file(written(split(r"\s+")))
    with pytest.raises(BundleError, match=r"\(pre_tokenizer\)"):
        TextTokenizer.from_file(written(split("a" * tokenizer_file.MAX_PATTERN)))


def test_a_pattern_that_backtracks_without_end_is_one_line(written):
    def change(body):
        body["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "(a+)+$"})

    tokenizer = TextTokenizer.from_file(written(change))
    with pytest.raises(BundleError, match=r"cannot encode this text: .*retry-limit") as caught:
        tokenizer.encode("a" * 40 + "b")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"a":' * 1000, "\0", "{}"])
def test_what_is_no_tokenizer(tmp_path, text):
    (tmp_path / TOKENIZER_NAME).write_text(text)
    with pytest.raises(BundleError, match="is not a tokenizer") as caught:
        TextTokenizer.from_file(tmp_path / TOKENIZER_NAME)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_file_that_is_too_large_or_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_file, "MAX_TOKENIZER_BYTES", 1000)
    (tmp_path / TOKENIZER_NAME).write_text(SEED)
    with pytest.raises(BundleError, match="is over 0 MiB"):
        TextTokenizer.from_file(tmp_path / TOKENIZER_NAME)
    with pytest.raises(BundleError, match="cannot be read"):
        TextTokenizer.from_file(tmp_path / "none")


def test_interrupts_pass_through(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    class Interrupted:
        from_buffer = interrupt

    monkeypatch.setattr(tokenizer_file, "Tokenizer", Interrupted)
    (tmp_path / TOKENIZER_NAME).write_text(SEED)
    with pytest.raises(KeyboardInterrupt):
        TextTokenizer.from_file(tmp_path / TOKENIZER_NAME)
