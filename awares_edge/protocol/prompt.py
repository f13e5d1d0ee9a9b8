"""A conversation as token ids, piece by piece: Qwen2.5-VL's chat template, spelled out.

    <|im_start|>system\\n{system}<|im_end|>\\n                              system()
    <|im_start|>user\\n{user, up to the picture}<|vision_start|>           open_picture()
        (the picture)
    <|vision_end|>{the rest}<|im_end|>\\n<|im_start|>assistant\\n            ask()
        (generated: an answer, or a call)
    <|im_end|>{join}<|im_start|>user\\n{reply, up to the region}<|vision_start|>
        (a region)                                                        reply()
    <|vision_end|>{the rest}<|im_end|>\\n<|im_start|>assistant\\n

Special tokens cut the text into chunks that are tokenised apart, exactly as transformers does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from awares_edge.errors import QuestionError
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.sizes import Size
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer

MAX_QUESTION = 32_768
"""Longest question, in characters."""


class PromptBuilder:
    """Token ids of every piece of a conversation under one profile."""

    def __init__(
        self, tokenizer: TextTokenizer, special: SpecialTokens, profile: ProtocolProfile
    ) -> None:
        # What surrounds pictures and questions is the same each time.
        self._encode = lru_cache(maxsize=64)(tokenizer.encode)
        self._special = s = special
        self._profile = profile
        self._before, _, self._behind = profile.user.partition("{image}")
        self._turn_end = (s.im_end, *tokenizer.encode("\n"))
        self._assistant = (s.im_start, *tokenizer.encode("assistant\n"))
        self._join = (s.im_end, *tokenizer.encode(profile.reply.join))
        self._system = (s.im_start, *tokenizer.encode(f"system\n{profile.system}"), *self._turn_end)

    def system(self) -> tuple[int, ...]:
        """The system message: the same for every question, so computed once per model."""
        return self._system

    def open_picture(self) -> tuple[int, ...]:
        """From the start of the user's message to the picture."""
        return (*self._user(self._before), self._special.vision_start)

    def ask(self, question: str) -> tuple[int, ...]:
        """From the picture's end to where the model begins to answer."""
        text = self._behind.replace("{question}", check_question(question))
        return (self._special.vision_end, *self._encode(text), *self._turn_end, *self._assistant)

    def follow_up(self, question: str) -> tuple[int, ...]:
        """From an answer's `<|im_end|>` to where the model answers another question."""
        text = self._profile.follow_up.replace("{question}", check_question(question))
        return (*self._turn_end, *self._user(text), *self._turn_end, *self._assistant)

    def reply(
        self, sizes: Sequence[Size], *, question: str = "", calls: int = 0
    ) -> list[tuple[int, ...]]:
        """The pieces around the regions that follow a call, from the call's `<|im_end|>` on.

        Args:
            sizes: (width, height) of each region as it is sent; one at least.
            question: what was asked, where the profile repeats it.
            calls: how many calls came before this one.

        Returns:
            one piece more than there are regions; the last ends where the model goes on.
        """
        s, rule = self._special, self._profile.reply
        text = reply_text(rule.text, sizes[0], question=question, calls=calls)
        before, _, behind = text.partition("{image}")
        between = (s.vision_end, *self._encode(rule.between), s.vision_start)
        first = (*self._join, *self._user(before), s.vision_start)
        last = (s.vision_end, *self._encode(behind), *self._turn_end, *self._assistant)
        return [first, *[between] * (len(sizes) - 1), last]

    def error(self, problem: str) -> tuple[int, ...]:
        """From a call's `<|im_end|>` to where the model goes on, where it cannot be followed."""
        text = self._profile.reply.error.replace("{problem}", problem)
        return (*self._join, *self._user(text), *self._turn_end, *self._assistant)

    def _user(self, text: str) -> tuple[int, ...]:
        return (self._special.im_start, *self._encode(f"user\n{text}"))


def reply_text(template: str, size: Size, *, question: str, calls: int) -> str:
    """A reply's text with all but {image} filled in."""
    width, height = size
    values = {"round": calls, "next": calls + 1, "width": width, "height": height}
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", str(value))
    # Last, so that a question's own braces stay as they are.
    before, image, behind = template.partition("{image}")
    return before.replace("{question}", question) + image + behind.replace("{question}", question)


def check_question(question: str) -> str:
    """The question, as it will be asked.

    Raises:
        QuestionError: it is empty, over `MAX_QUESTION` characters, or not valid Unicode.
    """
    if not question.strip():
        raise QuestionError("the question is empty: ask something about the picture")
    if len(question) > MAX_QUESTION:
        raise QuestionError(
            f"the question has {len(question):,} characters, over {MAX_QUESTION:,}: shorten it"
        )
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise QuestionError("the question is not valid Unicode: check its encoding") from error
    return question
