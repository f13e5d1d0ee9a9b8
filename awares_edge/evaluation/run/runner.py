"""Asks the questions of a suite in one mode, and writes a row for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from time import perf_counter, thread_time

import numpy as np

from awares_edge.controller.askable import Askable
from awares_edge.errors import ContextOverflow, InputError
from awares_edge.evaluation.modes import ask, in_mode
from awares_edge.evaluation.run.folder import RowLog
from awares_edge.evaluation.run.prefetch import Prepared, prepared
from awares_edge.evaluation.run.rows import Row
from awares_edge.evaluation.scorers import Scorer
from awares_edge.evaluation.suites.base import Selection, Suite


@dataclass(slots=True)
class Spent:
    """Where the time of this process went.

    Attributes:
        asked: questions that it asked.
        wall_s: seconds from the first row to the last, rows that were there before left out.
        cpu_s: CPU seconds of the asking thread in that time.
        model_s, model_cpu_s: the share of both that went into opening and asking pictures.
    """

    asked: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    model_s: float = 0.0
    model_cpu_s: float = 0.0

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Add the time of a `with` block to the model's."""
        wall, cpu = perf_counter(), thread_time()
        try:
            yield
        finally:
            self.model_s += perf_counter() - wall
            self.model_cpu_s += thread_time() - cpu


def check_mode(suite: Suite, mode: str) -> None:
    """Find out before the first question whether a suite can be asked in a mode.

    Raises:
        InputError: the mode needs evidence, which the suite does not have.
    """
    if mode == "oracle-crop" and type(suite).evidence is Suite.evidence:
        raise InputError(
            f"mode 'oracle-crop' needs to know which crops hold the answer, and {suite.name} does "
            "not say: choose other modes"
        )


def run_suite(
    model: Askable,
    suite: Suite,
    mode: str,
    log: RowLog,
    selection: Selection,
    scorer: Scorer,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Spent:
    """Ask every row of the selection that the log does not hold yet.

    Every question opens its picture again, so that neither its answer nor its time depends on which
    questions were asked before. A row that cannot be asked is written as failed.
    """
    check_mode(suite, mode)
    model = in_mode(model, mode)
    total = selection.size(suite.count)
    after = selection.nth(log.count - 1) if log.count else -1
    spent = Spent()
    begun, cpu = perf_counter(), thread_time()
    with closing(prepared(suite, replace(selection, after=after), workers)) as rows:
        for item in rows:
            log.append(_ask(model, suite, mode, item, scorer, spent))
            spent.asked += 1
            if progress:
                progress(log.count, total)
    spent.wall_s, spent.cpu_s = perf_counter() - begun, thread_time() - cpu
    if log.count != total:
        raise InputError(f"{suite.name} has {log.count} rows, not {total}: the data has changed")
    return spent


def _ask(
    model: Askable, suite: Suite, mode: str, item: Prepared, scorer: Scorer, spent: Spent
) -> Row:
    question = item.question
    if question is None or item.image is None:
        name = question.id if question else str(item.index)
        return Row(item.index, name, "failed", reason=item.reason)
    try:
        with spent.in_model(), model.open(item.image) as picture:
            answer = ask(
                picture,
                question.prompt,
                mode,
                max_new_tokens=suite.rules.max_new_tokens,
                rng=np.random.default_rng([item.index, 11]),
                evidence=suite.evidence(question),
            )
    except (InputError, ContextOverflow) as error:
        return Row(item.index, question.id, "failed", reason=str(error))
    prediction = answer.text.strip()
    facts = dict(question.facts)
    score = suite.rules.score(prediction, question.references, facts, scorer)
    return Row.answered(
        item.index, question.id, answer, prediction, question.references, facts, score
    )
