"""A checkpoint's tokenizer in GGUF's form: tokens by id, their types, and the merges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from awares_edge.checkpoint.json_object import JsonObject
from awares_edge.errors import ExportError
from awares_edge.protocol.tokenizer import QWEN2_PATTERN

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What GGUF's `tokenizer.ggml.*` keys hold.

    Attributes:
        tokens: text of each id, padded with unused ones to the embedding's rows.
        types: type of each token.
        merges: "left right", from the first to the last.
        exact: whether llama.cpp's own tokenizer gives the same ids (for NFC text). awares-edge
            itself always uses `tokenizer.json`; other programs use this.
    """

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    exact: bool


def read_vocabulary(path: Path, rows: int) -> Vocabulary:
    """Read a byte-level BPE `tokenizer.json` for an embedding of `rows` rows.

    Raises:
        ExportError: it is of another kind, or has ids beyond the embedding.
    """
    whole = JsonObject.read(path)
    model = whole.child("model")
    if model.data.get("type", "BPE") != "BPE" or not isinstance(model.data.get("vocab"), dict):
        raise ExportError(
            f"{path} is not a byte-level BPE tokenizer, the only kind that GGUF's qwen2 has"
        )
    tokens: list[str | None] = [None] * rows
    types = [UNUSED] * rows
    entries = [(text, i, NORMAL) for text, i in model.data["vocab"].items()]
    for added in whole.data.get("added_tokens") or []:
        kind = CONTROL if added.get("special") else USER_DEFINED
        entries.append((added["content"], added["id"], kind))
    for text, i, kind in entries:
        if type(i) is not int or not 0 <= i < rows:
            raise ExportError(
                f"{path} has the token {text!r} with id {i}, the embedding has {rows} rows: give "
                "the tokenizer that belongs to this checkpoint"
            )
        tokens[i], types[i] = text, kind
    padded = tuple(f"[PAD{i}]" if text is None else text for i, text in enumerate(tokens))
    merges = tuple(
        merge if isinstance(merge, str) else " ".join(merge)
        for merge in model.data.get("merges") or []
    )
    return Vocabulary(padded, tuple(types), merges, _is_qwen2(whole))


def _is_qwen2(whole: JsonObject) -> bool:
    """Whether this tokenizer cuts text as llama.cpp's "qwen2" does."""
    steps = whole.child("pre_tokenizer").data
    parts = steps.get("pretokenizers", [steps])
    if len(parts) != 2:
        return False
    split, bytes_ = parts
    pattern = (split.get("pattern") or {}).get("Regex")
    return (
        pattern == QWEN2_PATTERN
        and split.get("behavior") == "Isolated"
        and not split.get("invert")
        and bytes_.get("type") == "ByteLevel"
        and not bytes_.get("add_prefix_space")
        and not bytes_.get("use_regex")
    )
