"""`awares-edge score`: saved predictions under a benchmark's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from awares_edge.apps.console import print_json, say, warn
from awares_edge.apps.evaluate.options import get_scorer
from awares_edge.apps.options import JsonOption
from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks import BENCHMARKS, Scored, get_benchmark
from awares_edge.evaluation.predictions import BadRow, score_file
from awares_edge.extras import require

EPILOG = """
Examples:

    awares-edge score chartqa predictions.jsonl

    awares-edge score realworldqa predictions.jsonl --scorer 0.6.1 --json

A line of the file: {"prediction": "42", "references": ["42"]}; ocrbench also needs "dataset",
realworldqa "question". "type", "question_type" and "category" give totals of their own.
`evaluate` writes such lines (rows.jsonl).
"""


def score(
    benchmark: Annotated[str, typer.Argument(help=f"One of {', '.join(BENCHMARKS)}.")],
    results: Annotated[Path, typer.Argument(help="JSON lines with predictions and references.")],
    scorer: Annotated[
        str, typer.Option(help="Version of lmms-eval whose rules to use: 0.6.1 or 0.7.2.")
    ] = "0.7.2",
    json: JsonOption = False,
) -> None:
    """Score saved predictions as lmms-eval does: one score a line, then the totals."""
    rules = get_benchmark(benchmark)
    version = get_scorer(scorer)
    require(f"scoring {benchmark}", rules.packages)
    scored: list[Scored] = []
    bad: list[BadRow] = []
    for _, row in score_file(results, rules, version):
        if isinstance(row, BadRow):
            bad.append(row)
            warn(f"{results}: line {row.line}: {row.reason}")
        else:
            scored.append(row)
        if not json:
            say("invalid" if isinstance(row, BadRow) else f"{row.score:g}")
    if not scored and not bad:
        raise InputError(f"{results} has no predictions")
    totals = rules.totals(scored) if scored else {}
    if json:
        print_json(
            {
                "benchmark": benchmark,
                "scorer": version,
                "scores": [row.score for row in scored],
                "invalid": [{"line": row.line, "reason": row.reason} for row in bad],
                "totals": totals,
            }
        )
    else:
        for name, value in totals.items():
            say(f"{name}: {value:.4f}")
        say(f"{len(scored)} scored, {len(bad)} invalid (lmms-eval {version})")
    if bad:
        raise InputError(f"{len(bad)} of {len(bad) + len(scored)} rows could not be scored")
