"""A conversation under a profile as OpenAI's messages: the texts of `protocol.prompt`, unrendered.

The server's chat template puts the marks of the conversation format around them. Qwen2.5-VL's own
template then gives the same text as `PromptBuilder`, but for `reply.join`: a template always puts
one line end between two messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.prompt import reply_text
from awares_edge.protocol.sizes import Size

Message: TypeAlias = dict[str, Any]


def system(profile: ProtocolProfile) -> Message:
    """The system message; sent even where it is empty, or a template would put in its own."""
    return {"role": "system", "content": profile.system}


def question(profile: ProtocolProfile, view: str, text: str) -> Message:
    """The first question about a picture.

    Args:
        view: data URL of the first view.
    """
    before, _, behind = profile.user.partition("{image}")
    return _user([before, behind.replace("{question}", text)], [view])


def follow_up(profile: ProtocolProfile, text: str) -> Message:
    """A later question in the same conversation."""
    return {"role": "user", "content": profile.follow_up.replace("{question}", text)}


def reply(text: str) -> Message:
    """What the model has answered, or its call."""
    return {"role": "assistant", "content": text}


def regions(
    profile: ProtocolProfile,
    urls: Sequence[str],
    size: Size,
    *,
    asked: str,
    calls: int,
) -> Message:
    """The regions that follow a call.

    Args:
        urls: data URLs, one at least.
        size: (width, height) of the first region as it is sent.
        asked: the question, where the profile repeats it.
        calls: how many calls came before this one.
    """
    text = reply_text(profile.reply.text, size, question=asked, calls=calls)
    before, _, behind = text.partition("{image}")
    return _user([before, *[profile.reply.between] * (len(urls) - 1), behind], urls)


def error(profile: ProtocolProfile, problem: str) -> Message:
    """What is wrong with a call."""
    return {"role": "user", "content": profile.reply.error.replace("{problem}", problem)}


def ask_about(url: str, text: str) -> Message:
    """A question about a whole picture, for a server that knows the profile itself."""
    return _user([text, ""], [url])


def text_length(message: Message) -> int:
    """Bytes of a message's text: no tokenizer makes more tokens of it."""
    content = message["content"]
    parts = [content] if isinstance(content, str) else [p.get("text", "") for p in content]
    return sum(len(part.encode()) for part in parts)


def _user(texts: Sequence[str], urls: Sequence[str]) -> Message:
    """A text, a picture, a text, ...; empty texts are left out, and no two texts meet, because
    some servers would put a line end between them."""
    content: list[dict[str, Any]] = []
    for text, url in zip(texts, [*urls, None], strict=True):
        if text:
            content.append({"type": "text", "text": text})
        if url is not None:
            content.append({"type": "image_url", "image_url": {"url": url}})
    return {"role": "user", "content": content}
