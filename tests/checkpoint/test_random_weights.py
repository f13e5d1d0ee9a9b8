"""Random weights of any size: readable, of moderate size, and streamed in pieces."""

import numpy as np
import pytest

from awares_edge.apps.smallest_model import write_smallest_checkpoint
from awares_edge.checkpoint import random_weights
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.names import expected_shapes
from awares_edge.checkpoint.random_weights import write_random_weights


@pytest.fixture
def folder(tmp_path):
    return write_smallest_checkpoint(tmp_path / "checkpoint")


def read(folder):
    """Every tensor by name, as float32."""
    checkpoint = Checkpoint.open(folder)
    tensors = {name: checkpoint.tensor(name) for name in expected_shapes(checkpoint.spec)}
    return {
        name: np.asarray(tensor.rows(0, tensor.shape[0]), dtype=np.float32)
        for name, tensor in tensors.items()
    }


def test_norms_are_near_one_and_matrices_keep_their_input_s_size(folder):
    for name, values in read(folder).items():
        if values.ndim == 1:
            assert abs(values.mean() - (not name.endswith("bias"))) < 0.05, name
        else:
            fan_in = values[0].size
            assert values.std() * fan_in**0.5 == pytest.approx(0.5, rel=0.1), name


def test_bf16_is_the_same_with_fewer_bits(folder):
    narrow = read(folder)
    write_random_weights(folder / "model.safetensors", Checkpoint.open(folder).spec, "F32")
    for name, values in read(folder).items():
        assert np.allclose(narrow[name], values, rtol=2**-7, atol=0), name


def test_a_matrix_larger_than_a_piece_is_written_whole(folder, monkeypatch):
    monkeypatch.setattr(random_weights, "_PIECE", 1000)
    write_random_weights(folder / "model.safetensors", Checkpoint.open(folder).spec, "F32")
    for name, values in read(folder).items():
        flat = values.reshape(-1)
        assert flat[1000:2000].tolist() == flat[: len(flat[1000:2000])].tolist(), name
