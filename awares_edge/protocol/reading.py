"""How a profile takes one reply of a model: for people who debug a model or write a profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awares_edge.protocol.answers import extract_answer
from awares_edge.protocol.call import Request
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.prompt import reply_text
from awares_edge.protocol.regions import Region, RegionError, locate
from awares_edge.protocol.sizes import Size

_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"


def read_reply(
    profile: ProtocolProfile,
    text: str,
    image_size: Size,
    *,
    pictures: Sequence[Size] | None = None,
    calls: int = 0,
    question: str = "",
) -> dict[str, Any]:
    """What the profile makes of a reply.

    Args:
        text: what the model said in one turn.
        image_size: (width, height) of the picture, as the user gave it.
        pictures: sizes of the source picture and of the regions cut so far, where they are not
            those that the profile makes of `image_size`.
        calls: how many calls came before.
        question: what was asked, where the profile repeats it.

    Returns:
        `status`, `problem`, `source_size`, `first_size`, `regions` (each with `box` in pixels of
        picture number `picture`, and `size` as it is sent), `turn` (the text that would be appended
        behind the reply, pictures as <|image_pad|>; empty where the conversation ends), `answer`.
    """
    known = list(pictures) if pictures else [profile.source_size(image_size)]
    view = profile.first_size(image_size)
    call = profile.call.parse(text)
    requests, problem, status = call.requests, call.problem, call.status
    may_call = calls < profile.limits.max_calls
    if profile.limits.must_call and not requests and calls == 0:
        requests = (Request(),)
    regions: list[Region] = []
    try:
        regions = [locate(profile, request, known, view) for request in requests]
    except RegionError as error:
        status, problem = "invalid", str(error)
        if profile.limits.must_call:
            regions = [locate(profile, Request(), known, view)]
    turn = ""
    if may_call and (regions or status == "invalid"):
        turn = _turn(profile, regions, problem, question, calls)
    return {
        "status": status,
        "problem": problem,
        "source_size": known[0],
        "first_size": view,
        "regions": [
            {"box": r.box, "picture": r.picture, "size": r.size, "id": r.id} for r in regions
        ],
        "turn": turn,
        "answer": extract_answer(profile.answer, [text]) if not turn else "",
    }


def _turn(
    profile: ProtocolProfile, regions: Sequence[Region], problem: str, question: str, calls: int
) -> str:
    rule = profile.reply
    if regions:
        text = reply_text(rule.text, regions[0].size, question=question, calls=calls)
        images = (_PICTURE + rule.between) * (len(regions) - 1) + _PICTURE
        message = text.replace("{image}", images)
    else:
        message = rule.error.replace("{problem}", problem)
    return f"<|im_end|>{rule.join}<|im_start|>user\n{message}<|im_end|>\n<|im_start|>assistant\n"
