"""What `awares-edge parity` prints to a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awares_edge.apps.console import say
from awares_edge.evaluation.parity import Recording
from awares_edge.evaluation.parity.report import check_line


def print_results(reference: Recording, results: Sequence[dict[str, Any]]) -> None:
    """A line about the reference, then each candidate's checks and numbers."""
    called = sum(row.called for row in reference.rows)
    name = reference.about["model"]
    say(f"{name}: {len(reference.rows)} questions, {called} with a call")
    for result in results:
        _print_result(result)


def _print_result(result: dict[str, Any]) -> None:
    candidate, decisions = result["candidate"], result["decisions"]
    kind = f"{candidate['runtime']}, {candidate.get('precision')}"
    say(f"{candidate['model']} ({kind})", style="bold")
    for check in result["checks"]:
        mark, style = ("✓", None) if check["ok"] else ("✗", "red")
        say(f"  {mark} {check_line(check)}", style=style)
    overlap = "" if decisions["iou"] is None else f", regions overlap {decisions['iou']:.3f} (IoU)"
    say(
        f"  call or no call the same: {decisions['same_call']['share']:.2%}{overlap}, "
        f"call rate {decisions['call_rate_shift']:+.2%}"
    )
    if (ours := result["right"]["reference"]) and (theirs := result["right"]["candidate"]):
        say(f"  right: {theirs['share']:.2%} (reference {ours['share']:.2%})")
    if result["drift"]:
        say(f"  {'logits':12}{'rows':>6}{'median':>9}{'max':>9}{'KL mean':>10}{'same token':>12}")
    for phase in result["drift"]:
        difference = phase["difference"]
        say(
            f"  {phase['phase']:12}{phase['rows']:6}{difference['median']:9.2g}"
            f"{difference['max']:9.2g}{phase['kl']['mean']:10.2g}{phase['same_token']:12.2%}"
        )
    if result["stages"]:
        cosines = ", ".join(f"{stage['stage']} {stage['min']:.6f}" for stage in result["stages"])
        say(f"  least cosine: {cosines}")
        say(f"  first stage to diverge: {result['first_to_diverge'] or 'none'}")
    for row in result["differing"][:5]:
        margin = "" if row["margin"] is None else f" (margin {row['margin']:.3f})"
        say(f"  {row['question']} {_said(row['reference'])} → {_said(row['candidate'])}{margin}")
    if len(result["differing"]) > 5:
        say(f"  and {len(result['differing']) - 5} more: --json or --html lists them")


def _said(side: dict[str, Any]) -> str:
    calls = "; ".join(",".join(call) for call in side["calls"])
    return f"[{calls}] {side['answer']}" if calls else str(side["answer"])
