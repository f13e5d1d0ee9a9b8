"""Text to token ids and back, for untrusted text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from awares_edge.errors import BundleError, InputError
from awares_edge.protocol.tokenizer_file import failures, read_tokenizer

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, END_OF_TEXT = "<|image_pad|>", "<|endoftext|>"

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2's tokenizer cuts text before it merges bytes (`pre_tokenizer` of tokenizer.json)."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of the tokens that structure a conversation.

    Attributes:
        eos: any of these ends an answer.
    """

    im_start: int
    im_end: int
    vision_start: int
    vision_end: int
    image_pad: int
    eos: tuple[int, ...]


class TextTokenizer:
    """A checkpoint's tokenizer, used only for plain text.

    Special tokens are never made from text: `<|im_end|>` inside a question becomes the ordinary
    tokens of its characters, so that a question cannot break out of its message.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer

    @classmethod
    def from_file(cls, path: Path) -> TextTokenizer:
        """Read a `tokenizer.json`.

        Raises:
            BundleError: it is not one, or not of Qwen2.5-VL's kind.
        """
        return cls(read_tokenizer(path))

    @property
    def vocabulary(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        with failures("the bundle's tokenizer cannot encode this text"):
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def to_json(self) -> str:
        """As `tokenizer.json`, for libraries that read one."""
        return str(self._tokenizer.to_str())

    def id_of(self, token: str) -> int | None:
        return self._tokenizer.token_to_id(token)

    def special_tokens(self, eos: Sequence[int] = ()) -> SpecialTokens:
        """Look up the tokens of Qwen2.5-VL's conversation format.

        Raises:
            BundleError: the vocabulary lacks one of them.
        """
        names = (IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD)
        ids = [self.id_of(name) for name in names]
        missing = [name for name, i in zip(names, ids, strict=True) if i is None]
        if missing:
            raise BundleError(f"the tokenizer has no {', '.join(missing)}: not a Qwen2.5-VL one")
        im_start, im_end, vision_start, vision_end, image_pad = (i for i in ids if i is not None)
        ends = dict.fromkeys([im_end, *eos])
        if (end_of_text := self.id_of(END_OF_TEXT)) is not None:
            ends[end_of_text] = None
        return SpecialTokens(im_start, im_end, vision_start, vision_end, image_pad, eos=tuple(ends))

    def require_tokens(self, texts: Sequence[str], profile: str) -> None:
        """Check that each text is one token.

        Raises:
            InputError: one is not, so the checkpoint was not trained with this profile.
        """
        for text in texts:
            if self.encode(text) != [self.id_of(text)]:
                raise InputError(
                    f"the profile {profile} needs {text} as one token, which the tokenizer does "
                    "not have: choose the profile that the checkpoint was trained with"
                )

    def stream(self) -> TokenStream:
        return TokenStream(self._tokenizer)


class TokenStream:
    """Decodes one token at a time, holding back bytes that do not yet make a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def feed(self, ids: Sequence[int]) -> Iterator[str]:
        """Pieces of text that `ids` complete."""
        for i in ids:
            piece = self._stream.step(self._tokenizer, i)
            if piece:
                yield piece
