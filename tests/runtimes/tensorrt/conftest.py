"""A tiny checkpoint, shared by the adapter's tests."""

import pytest

from awares_edge.checkpoint.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    pytest.importorskip("torch")
    from tests.support.checkpoints import make_checkpoint

    return Checkpoint.open(make_checkpoint(tmp_path_factory.mktemp("trt") / "model", seed=2))
