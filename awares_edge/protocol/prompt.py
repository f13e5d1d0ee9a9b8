"""A conversation as token ids, piece by piece: Qwen2.5-VL's chat template, spelled out.

    <|im_start|>system\\n{prompt}<|im_end|>\\n                          system()
    <|im_start|>user\\n<|vision_start|>                                 open_picture()
        (the picture)
    <|vision_end|>{question}<|im_end|>\\n<|im_start|>assistant\\n        ask()
        (generated: an answer, or a call)
    <|im_end|>\\n<|im_start|>user\\n<|vision_start|>(crop)<|vision_end|>… open_crops(), next_crop(),
    <|im_end|>\\n<|im_start|>assistant\\n                               close_crops()

Special tokens cut the text into chunks that are tokenised apart, exactly as transformers does it.
"""

from __future__ import annotations

from awares_edge.errors import QuestionError
from awares_edge.protocol.profiles import ProtocolProfile
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer

MAX_QUESTION = 32_768
"""Longest question, in characters."""


class PromptBuilder:
    """Token ids of every piece of a conversation under one profile."""

    def __init__(
        self, tokenizer: TextTokenizer, special: SpecialTokens, profile: ProtocolProfile
    ) -> None:
        encode = tokenizer.encode
        self._tokenizer = tokenizer
        self._special = s = special
        newline = encode("\n")
        self._turn_end = (s.im_end, *newline)
        self._user = (s.im_start, *encode("user\n"))
        self._assistant = (s.im_start, *encode("assistant\n"))
        self._system = (
            s.im_start,
            *encode(f"system\n{profile.system_prompt}"),
            *self._turn_end,
        )

    def system(self) -> tuple[int, ...]:
        """The system message: the same for every question, so computed once per model."""
        return self._system

    def open_picture(self) -> tuple[int, ...]:
        """From the start of the user's message to the picture."""
        return (*self._user, self._special.vision_start)

    def ask(self, question: str) -> tuple[int, ...]:
        """From the picture's end to where the model begins to answer."""
        text = check_question(question)
        return (
            self._special.vision_end,
            *self._tokenizer.encode(text),
            *self._turn_end,
            *self._assistant,
        )

    def open_crops(self) -> tuple[int, ...]:
        """From a call's end (its `<|im_end|>` excluded) to the first crop."""
        return (*self._turn_end, *self._user, self._special.vision_start)

    def next_crop(self) -> tuple[int, ...]:
        """Between two crops."""
        return (self._special.vision_end, self._special.vision_start)

    def close_crops(self) -> tuple[int, ...]:
        """From the last crop to where the model begins to answer."""
        return (self._special.vision_end, *self._turn_end, *self._assistant)


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
