"""How a profile takes one reply of a model: for people who debug a model or write a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from awares_edge.errors import InputError
from awares_edge.protocol.answers import extract_answer
from awares_edge.protocol.call import Request, TaggedCall
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.prompt import reply_text
from awares_edge.protocol.regions import Region, RegionError, locate
from awares_edge.protocol.sizes import Size

_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
_EXAMPLE_SIZE = (1920, 1080)
_EXAMPLE_QUESTION = "What does the small sign say?"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a conversation.

    Attributes:
        what: its kind, in words.
        by_model: whether the model says it.
        text: its exact text, pictures as <|image_pad|>.
    """

    what: str
    by_model: bool
    text: str


def prompt_text(profile: ProtocolProfile, question: str) -> str:
    """The text that a conversation begins with, up to the model's first reply."""
    before, _, behind = profile.user.partition("{image}")
    return (
        f"<|im_start|>system\n{profile.system}<|im_end|>\n<|im_start|>user\n{before}{_PICTURE}"
        f"{behind.replace('{question}', question)}<|im_end|>\n<|im_start|>assistant\n"
    )


def example_conversation(profile: ProtocolProfile) -> list[Part]:
    """A conversation about a picture of 1920 x 1080 pixels, with one call.

    Raises:
        InputError: the profile refuses the call of its own example.
    """
    call, think = _example_call(profile), "<think>...</think>\n" if profile.reasoning else ""
    read = read_reply(profile, call, _EXAMPLE_SIZE, question=_EXAMPLE_QUESTION)
    if not read["regions"]:
        raise InputError(f"the profile {profile.name} refuses its own example: {read['problem']}")
    first, region = read["first_size"], read["regions"][0]
    left, top, right, bottom = region["box"]
    width, height = region["size"]
    answer = {"text": "STOP", "boxed": "It says \\boxed{STOP}."}
    said = answer.get(profile.answer.rule, "<answer>STOP</answer>")
    return [
        Part(
            f"the prompt, with the picture at {first[0]} x {first[1]} pixels",
            False,
            prompt_text(profile, _EXAMPLE_QUESTION),
        ),
        Part("a call", True, f"{think}{call}"),
        Part(
            f"what is appended, with [{left}, {top}, {right}, {bottom}] of the source picture "
            f"({read['source_size'][0]} x {read['source_size'][1]}) at {width} x {height} pixels",
            False,
            read["turn"],
        ),
        Part("the answer", True, f"{think}{said}<|im_end|>"),
    ]


def _example_call(profile: ProtocolProfile) -> str:
    call: object = profile.call
    if not isinstance(call, TaggedCall):
        return profile.crop_call(profile.tool.crops[:1])
    shares = profile.region.coordinates in ("unit", "unit-or-pixels")
    return call.render("0.1, 0.2, 0.4, 0.6" if shares else "100, 120, 400, 320")


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
