"""When a prediction is right: the rules of lmms-eval, to the letter.

Two versions exist. "0.6.1" (January 2026) is what the AwaRes paper's numbers come from; "0.7.2" is
lmms-eval's rule since July 2026 (released as 0.7.3). They differ for RealWorldQA and OCRBench.
Predictions are stripped first, as lmms-eval strips them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

Scorer: TypeAlias = Literal["0.6.1", "0.7.2"]
SCORERS: tuple[Scorer, ...] = get_args(Scorer)

_ANLS_THRESHOLD = 0.5
_RELATIVE_CHANGE = 0.05


def relaxed_accuracy(prediction: str, target: str) -> float:
    """1 for numbers within 5% of the target, or else equal text without case (ChartQA).

    "50%" is 0.5; a target of 0 or of no number is compared as text.
    """
    found, wanted = _number(prediction), _number(target)
    if found is not None and wanted:
        return float(abs(found - wanted) / abs(wanted) <= _RELATIVE_CHANGE)
    return float(prediction.lower() == target.lower())


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        return None


def anls(prediction: str, references: Sequence[str]) -> float:
    """Average normalised Levenshtein similarity of the best reference; 0 below 0.5 (DocVQA).

    The distance ignores case and repeated white space, the length it is divided by does not.
    """
    from rapidfuzz.distance import Levenshtein

    distances = []
    for reference in references:
        length = max(len(reference.upper()), len(prediction.upper()))
        distance = Levenshtein.distance(_folded(reference), _folded(prediction))
        distances.append(distance / length if length else 0.0)
    similarity = 1 - min(distances)
    return similarity if similarity >= _ANLS_THRESHOLD else 0.0


def _folded(text: str) -> str:
    return " ".join(text.strip().lower().split())


def contains_text(
    prediction: str, references: Sequence[str], *, formula: bool, scorer: Scorer
) -> float:
    """1 where a reference is part of the prediction (OCRBench).

    Args:
        formula: a row of HME100k: white space does not count. Its case does, but scorer 0.6.1
            lowers the case of predictions only.
    """
    if scorer == "0.6.1":
        prediction = prediction.lower()
    if formula:
        found = _without_spaces(prediction)
        return float(any(_without_spaces(reference) in found for reference in references))
    fold = _fold_full_width if scorer == "0.7.2" else str
    found = _one_line(fold(prediction))
    return float(any(_one_line(fold(reference)) in found for reference in references))


def _one_line(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _without_spaces(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")


def _fold_full_width(text: str) -> str:
    """Full-width ASCII and the ideographic space as their ordinary forms; nothing else."""
    return "".join(
        chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else " " if c == "\u3000" else c
        for c in text
    )


def equals(prediction: str, reference: str) -> float:
    """1 for equal text without case and outer white space (POPE's yes and no)."""
    return float(prediction.lower().strip() == reference.lower().strip())


def real_world(prediction: str, reference: str, question: str, scorer: Scorer) -> float:
    """RealWorldQA: the letter of an option, or else equal text less a trailing full stop.

    Args:
        question: with its options, "A. Left" a line; scorer 0.6.1 maps their texts to letters.
    """
    wanted = reference.strip()
    if scorer == "0.7.2" and wanted.upper() in ("A", "B", "C", "D"):
        return float(ranked_letter(prediction) == wanted.upper())
    if scorer == "0.6.1":
        prediction = _option_by_text(_DIGITS.get(prediction.lower(), prediction), question)
    return float(prediction.lower().strip().rstrip(".") == wanted.lower())


_DIGITS = {
    word: str(digit)
    for digit, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
}
_OPTION = re.compile(r"\b[A-Z]\.\s+([^\n]*)")


def _option_by_text(prediction: str, question: str) -> str:
    """The letter of the first option whose text is in the prediction; else only its words."""
    words = re.sub(r"[^\w\s]", "", prediction).strip()
    # A later option with the same text wins; letters count all options.
    letters = {text.strip(): chr(ord("A") + i) for i, text in enumerate(_OPTION.findall(question))}
    starts = [
        (at, order, letter)
        for order, (text, letter) in enumerate(letters.items())
        if (at := words.find(text)) >= 0
    ]
    # The leftmost match wins, and of those the first option, as in a regular expression.
    return min(starts)[2] if starts else words


_PHRASES = (
    *("the answer is", "answer is", "the correct answer is", "correct answer is"),
    *("the best answer is", "best answer is", "the correct option is", "correct option is"),
    *("the best option is", "best option is", "the choice is", "choice is"),
    *("the correct choice is", "correct choice is", "i choose", "i select", "i pick"),
    *("my answer is", "my choice is"),
    *("옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
)


def ranked_letter(prediction: str, letters: str = "ABCD") -> str:
    """The letter of an option in free text; "" where there is none (lmms-eval 0.7's extractor).

    The kind of place a letter stands in decides, then the later one: the start of the text, its
    end, after a phrase such as "the answer is", "(A)", "A.", "A:", "A)", "A ", anywhere.
    """
    text = prediction.strip()
    for mark in ",.!?;:'\"":
        text = text.strip(mark)
    text = f" {text} "
    whole, lower = text.strip(), text.lower()
    found: list[tuple[int, int, str]] = []
    for letter in letters:
        if _alone(whole, letter, at_start=True):
            found.append((10, 0, letter))
        if _alone(whole, letter, at_start=False):
            found.append((9, len(text) - 1, letter))
        for rank, form in enumerate(("{} ", "{})", "{}:", "{}.", "({})"), start=2):
            if (at := text.rfind(form.format(letter))) >= 0:
                found.append((rank, at, letter))
    for phrase in _PHRASES:
        if (start := lower.find(phrase)) >= 0:
            for letter in letters:
                if (at := text.find(letter, start + len(phrase))) >= 0:
                    found.append((7, at, letter))
    if not found:
        found = [(0, at, letter) for letter in letters if (at := text.rfind(letter)) >= 0]
    # The first of equals, as a stable sort keeps them.
    return max(found, key=lambda item: item[:2])[2] if found else ""


def _alone(text: str, letter: str, *, at_start: bool) -> bool:
    """Whether the text starts or ends with this letter, not as part of a word."""
    if not (text.startswith(letter) if at_start else text.endswith(letter)):
        return False
    return len(text) == 1 or not text[1 if at_start else -2].isalpha()


_LETTER_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^([A-D])\s*[\.)\]]*",
        r"(?:THE\s+)?(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])",
        r"\(([A-D])\)",
        r"([A-D])\s*(?:\.|\)|])",
        r"(?:^|\s)([A-D])(?:\s|$)",
    )
]


def first_letter(prediction: str) -> str:
    """The letter of an option by a cascade of patterns; "" where there is none (V*)."""
    text = prediction.strip().upper()
    for pattern in _LETTER_PATTERNS:
        if match := pattern.search(text):
            return match[1].upper()
    letters = re.findall(r"[A-D]", text)
    return letters[0] if len(letters) == 1 else ""
