"""Messages of a chat to what the model can be asked: one question about one picture.

The model is trained on a single question, so a conversation becomes one:

    (texts of system messages)

    Earlier in this conversation:
    User: ...
    Assistant: ...

    (texts of the last turn, one a line)

A conversation of one user message with one text is asked word for word. Messages of the same role
that follow one another are one turn. The picture is that of the newest turn that has any; several
pictures of one turn are laid side by side on one sheet (`images.Sheet`), which the question says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from awares_edge.httpd.refusals import Refusal
from awares_edge.serve.requests import ImagePart, Message, TextPart

_SYSTEM = ("system", "developer")

NO_PICTURE = "I answer questions about pictures. Please send a picture with your question."
"""The reply to a conversation without a picture, which the model cannot be asked about."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request asks.

    Attributes:
        question: the text that the model is asked.
        images: URLs of the pictures that it is asked about, in order; empty for none.
        images_sent: pictures in the whole conversation.
    """

    question: str
    images: tuple[str, ...]
    images_sent: int


@dataclass(frozen=True, slots=True)
class _Turn:
    role: str
    text: str
    images: tuple[str, ...]


def read_conversation(messages: Sequence[Message]) -> Conversation:
    """What the messages ask.

    Raises:
        Refusal: the last message is not the user's, or a picture is not in a user's message.
    """
    system = [m for m in messages if m.role in _SYSTEM]
    chat = [m for m in messages if m.role not in _SYSTEM]
    turns = [_turn(role, group) for role, group in groupby(chat, key=lambda m: m.role)]
    if not turns or turns[-1].role != "user":
        raise Refusal(400, "the last message must be from the user", param="messages")
    instructions = _turn("system", system)
    if instructions.images or any(t.images for t in turns if t.role != "user"):
        raise Refusal(400, "pictures must be in messages of the user", param="messages")
    images = next((t.images for t in reversed(turns) if t.images), ())
    blocks = [instructions.text, _transcript(turns[:-1]), _layout(len(images)), turns[-1].text]
    question = "\n\n".join(block for block in blocks if block)
    return Conversation(question, images, sum(len(t.images) for t in turns))


def _turn(role: str, messages: Iterable[Message]) -> _Turn:
    parts = [part for message in messages for part in message.parts]
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart) and part.text)
    return _Turn(role, text, tuple(part.url for part in parts if isinstance(part, ImagePart)))


def _transcript(turns: Sequence[_Turn]) -> str:
    lines = [f"{turn.role.capitalize()}: {turn.text}" for turn in turns if turn.text]
    return "\n".join(["Earlier in this conversation:", *lines]) if lines else ""


def _layout(pictures: int) -> str:
    if pictures < 2:
        return ""
    return (
        f"The picture shows {pictures} images side by side, numbered from left to right and from "
        "top to bottom."
    )
