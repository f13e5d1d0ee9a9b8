"""What the reference runtime is loaded with."""

import pytest

torch = pytest.importorskip("torch")

import awares_edge  # noqa: E402
from awares_edge.errors import InputError, RuntimeUnavailable  # noqa: E402
from awares_edge.runtimes.base import TextSegment  # noqa: E402
from tests.support.checkpoints import make_checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("torch") / "checkpoint", "tied", seed=1)


@pytest.mark.parametrize(
    "device", ["", "npu", "cpu:99", "cuda:", "cuda:-1", "cuda:07", "cuda:\u0663", "mps", "CPU"]
)
def test_devices_that_are_none(checkpoint, device):
    with pytest.raises(InputError, match="choose cuda, cuda:N, cpu"):
        awares_edge.load(checkpoint, runtime="torch", device=device)


@pytest.mark.parametrize("device", ["cuda:99", "cuda:256"])
def test_a_gpu_that_is_not_there(checkpoint, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RuntimeUnavailable, match=f"{device} is not usable here: torch sees 1 CUDA"):
        awares_edge.load(checkpoint, runtime="torch", device=device)


@pytest.mark.parametrize("threads", [0, -1, 9999])
def test_threads_out_of_range(checkpoint, threads):
    with pytest.raises(InputError, match="one for each core"):
        awares_edge.load(checkpoint, runtime="torch", threads=threads)


@pytest.mark.parametrize(
    ("dtype", "wanted"), [(None, "float32"), ("float16", "float16"), ("bfloat16", "bfloat16")]
)
def test_the_dtype_that_it_computes_in(checkpoint, dtype, wanted):
    with awares_edge.load(checkpoint, runtime="torch", device="cpu", dtype=dtype) as model:
        assert model.runtime.precision == wanted
        assert model.runtime.model.dtype == getattr(torch, wanted)


def test_a_dtype_that_is_none(checkpoint):
    with pytest.raises(InputError, match="choose one of float32, float16, bfloat16"):
        awares_edge.load(checkpoint, runtime="torch", dtype="int4")


@pytest.mark.parametrize("runtime", [None, "onnx", "null"])
def test_a_dtype_for_what_is_not_a_checkpoint(runtime):
    with pytest.raises(InputError, match="only for checkpoints"):
        awares_edge.load(runtime=runtime, dtype="float16")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_a_float_is_saved_and_restored_exactly(checkpoint, dtype):
    """numpy has no bfloat16."""
    ids = TextSegment(tuple(range(5, 12)))
    with awares_edge.load(checkpoint, runtime="torch", dtype=dtype, threads=1) as model:
        with model.runtime.open_session() as session:
            session.prefill([ids])
            saved = session.save()
            expected = session.decode(9)
        with model.runtime.restore(saved) as other:
            assert (other.decode(9) == expected).all()
