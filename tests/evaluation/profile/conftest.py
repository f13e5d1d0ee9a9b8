"""One short run of the embedded model, made once."""

import pytest

from awares_edge import embedded_bundle
from awares_edge.evaluation.profile.job import Job, Variant
from awares_edge.evaluation.profile.run import profile


def job(mode="awares", **changes):
    """A short job on the embedded model."""
    variant = Variant(str(embedded_bundle()), mode, threads=1)
    values = {
        "side": 224, "crops": ("0", "3"), "answer_tokens": 8, "free": False, "warmup": 1,
        "iterations": 3, "seed": 0, **changes,
    }  # fmt: skip
    return Job(values.pop("variant", variant), **values)


@pytest.fixture(scope="session")
def run():
    return profile([job("awares", sustained_s=0.5), job("full")], lambda *_: None)
