"""What a model said, taken apart: its reasoning, and where its answer is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from awares_edge.protocol.profile import AnswerRule

_LABEL = re.compile(r"Answer:\s*(.*)", re.DOTALL)


def extract_answer(rule: AnswerRule, turns: Sequence[str]) -> str:
    """The answer in what the model said; all of the last turn where it marks none.

    Args:
        turns: texts of all turns, in order.
    """
    last = turns[-1].strip()
    if rule.rule == "text":
        return last
    said = "".join(turns)
    if rule.rule == "innermost" and ("<answer>" in said or "</answer>" in said):
        return said.split("</answer>")[0].split("<answer>")[-1].strip()
    if rule.rule == "boxed" and (boxed := _last_boxed(last)) is not None:
        return boxed.strip()
    if found := _tagged(last):
        return found[-1 if rule.which == "last" or rule.rule == "boxed" else 0].strip()
    if rule.rule == "boxed" and (labels := _LABEL.findall(last)):
        return str(labels[-1]).strip()
    # Only an opening tag: the answer was cut off, or its end was never written.
    head, tag, tail = last.partition("<answer>")
    return tail.strip() if tag and rule.rule == "tag" and rule.which == "first" and head else last


def _tagged(text: str) -> list[str]:
    """Insides of <answer>, each to the next </answer>."""
    found, at = [], 0
    while (start := text.find("<answer>", at)) >= 0:
        start += len("<answer>")
        stop = text.find("</answer>", start)
        if stop < 0:
            break
        found.append(text[start:stop])
        at = stop + len("</answer>")
    return found


def _last_boxed(text: str) -> str | None:
    r"""The inside of the last \boxed{...}, braces counted; None where there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin:at]
    return None
