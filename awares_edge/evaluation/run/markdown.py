"""The paper's table in Markdown: our rows with intervals, the paper's beneath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from awares_edge.evaluation.benchmarks import BENCHMARKS
from awares_edge.evaluation.paper import PAPER
from awares_edge.evaluation.run.summary import rules_of

_NOTES = """\
Scores are percent. Brackets hold 95% intervals: Wilson's for shares, the normal approximation for
graded scores and means. They treat questions as independent, also where several ask about one
picture. RTR is the share of visual tokens that was spent; the pixel ratio is what the released
evaluator reports in its place. Failed rows have no answer and are not part of the scores."""


def to_markdown(summary: Mapping[str, Any]) -> str:
    """A page about a folder of runs."""
    runs: Sequence[Mapping[str, Any]] = summary["runs"]
    model = summary["model"]
    about = (
        f"Model {_code(model['name'])}, runtime {model['runtime']}, {model['precision']}, "
        f"protocol {_code(model['protocol'])}; scored by the rules of lmms-eval "
        f"{summary['scorer']}."
    )
    tables = [*_paper_table(runs, summary["means"]), *_details(runs)]
    return "\n".join(["# Evaluation", "", about, "", *tables, "", _NOTES]) + "\n"


def _paper_table(runs: Sequence[Mapping[str, Any]], means: Mapping[str, Any]) -> list[str]:
    modes = list(means)
    if not modes:
        return []
    titles = [BENCHMARKS[name].title for name in BENCHMARKS]
    lines = [_line(["", *titles, "mean", "RTR"]), "|---" * 9 + "|"]
    cells = {(run["suite"], run["mode"]): run for run in runs}
    for mode in modes:
        mean = means[mode]
        row = [_percent(cells.get((name, mode))) for name in BENCHMARKS]
        whole = len(mean["benchmarks"]) == len(BENCHMARKS)
        note = "" if whole else f" (of {len(mean['benchmarks'])})"
        lines.append(_line([f"**{mode}**", *row, _percent(mean) + note, f"{mean['rtr']:.2f}"]))
    for mode in modes:
        if mode in PAPER:
            paper = PAPER[mode]
            row = [f"{paper.scores[name]:.2f}" for name in BENCHMARKS]
            ends = [f"{paper.mean:.2f}", f"{paper.rtr:.2f}"]
            lines.append(_line([f"paper, 7B: {paper.title}", *row, *ends]))
    return [*lines, ""]


def _details(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    titles = ["", "mode", "questions", "failed", "score", "RTR", "pixel ratio", "direct", "valid"]
    lines = [_line(titles), "|---" * len(titles) + "|"]
    for run in runs:
        count = f"{run['questions']:,}" + ("" if run["complete"] else " (incomplete)")
        shares = [run[name] for name in ("rtr", "pixel_ratio", "direct_share", "valid_calls")]
        numbers = ["" if share is None else f"{share:.3f}" for share in shares]
        name = rules_of(run["suite"]).title if run["suite"] in BENCHMARKS else _code(run["suite"])
        lines.append(_line([name, run["mode"], count, str(run["failed"]), _percent(run), *numbers]))
    return lines


def _percent(run: Mapping[str, Any] | None) -> str:
    if run is None or run["score"] is None:
        return ""
    text = f"{100 * run['score']:.2f}"
    if run["score_ci"] is None:
        return text
    low, high = (100 * bound for bound in run["score_ci"])
    return f"{text} [{low:.1f}, {high:.1f}]"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _code(text: str) -> str:
    """Untrusted text that cannot end its cell or become markup."""
    safe = "".join(c if c.isprintable() and c not in "`|" else "?" for c in text)
    return f"`{safe}`"
