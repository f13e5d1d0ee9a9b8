"""Where questions come from: published parquet files, the user's own file, the synthetic suite."""

from __future__ import annotations

from awares_edge.evaluation.suites.base import Selection, Suite
from awares_edge.evaluation.suites.own import OwnSuite
from awares_edge.evaluation.suites.published import PublishedSuite
from awares_edge.evaluation.suites.synth import SynthSuite

__all__ = ["OwnSuite", "PublishedSuite", "Selection", "Suite", "SynthSuite"]
