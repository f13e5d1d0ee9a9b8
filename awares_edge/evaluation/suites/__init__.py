"""Where questions come from: published parquet files, the user's own file, the synthetic suite."""

from __future__ import annotations

from awares_edge.evaluation.question import BadQuestion, Question
from awares_edge.evaluation.suites.base import Selection, Suite
from awares_edge.evaluation.suites.catalog import open_suites
from awares_edge.evaluation.suites.own import OwnSuite
from awares_edge.evaluation.suites.published import PublishedSuite
from awares_edge.evaluation.suites.synth import SynthSuite

__all__ = [
    "BadQuestion",
    "OwnSuite",
    "PublishedSuite",
    "Question",
    "Selection",
    "Suite",
    "SynthSuite",
    "open_suites",
]
