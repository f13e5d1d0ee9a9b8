"""Weight averaging: the ends, the middle, and what cannot be averaged."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from awares_edge.errors import CheckpointError  # noqa: E402
from awares_edge.training.average import average  # noqa: E402
from awares_edge.training.errors import TrainingError  # noqa: E402


def checkpoint(folder: Path, **tensors: torch.Tensor) -> Path:
    folder.mkdir()
    safetensors.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(folder.name)
    return folder


@pytest.mark.parametrize(("share", "expected"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_weights_lie_between_the_two_and_the_rest_is_the_starts(
    tmp_path: Path, share: float, expected: float
) -> None:
    start = checkpoint(tmp_path / "start", w=torch.full((3,), 2.0, dtype=torch.bfloat16))
    tuned = checkpoint(tmp_path / "tuned", w=torch.full((3,), 4.0))
    out = average(start, tuned, tmp_path / "out", share)
    weights = safetensors.load_file(out / "model.safetensors")["w"]
    assert weights.dtype == torch.bfloat16
    assert weights.tolist() == [expected] * 3
    assert (out / "config.json").read_text() == "start"


def test_what_cannot_be_averaged_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    start = checkpoint(tmp_path / "start", w=torch.zeros(3))
    other = checkpoint(tmp_path / "other", w=torch.zeros(4))
    with pytest.raises(CheckpointError, match="different tensors"):
        average(start, other, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        average(start, tmp_path, tmp_path / "out")
    broken = checkpoint(tmp_path / "broken", w=torch.tensor([0.0, 1.0, torch.nan]))
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        average(start, broken, tmp_path / "out")
    with pytest.raises(TrainingError, match="exists"):
        average(start, start, other)
    (other / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        average(start, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()
