"""What the reference runtime is loaded with."""

import pytest

pytest.importorskip("torch")

import awares_edge
from awares_edge.errors import InputError, RuntimeUnavailable
from tests.support.checkpoints import make_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("torch") / "checkpoint", "tied", seed=1)


@pytest.mark.parametrize("device", ["", "npu", "cpu:99", "cuda:", "cuda:-1", "mps", "CPU"])
def test_devices_that_are_none(checkpoint, device):
    with pytest.raises(InputError, match="choose cpu, cuda"):
        awares_edge.load(checkpoint, runtime="torch", device=device)


def test_a_gpu_that_is_not_there(checkpoint):
    with pytest.raises(RuntimeUnavailable, match="no cuda:99 here"):
        awares_edge.load(checkpoint, runtime="torch", device="cuda:99")


@pytest.mark.parametrize("threads", [0, -1, 9999])
def test_threads_out_of_range(checkpoint, threads):
    with pytest.raises(InputError, match="one a core"):
        awares_edge.load(checkpoint, runtime="torch", threads=threads)
