"""GPTQ: 4-bit numbers that lose less of a matrix's products, against the published method."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.errors import ExportError
from awares_edge.export.hessians import Hessian, upper_triangle
from awares_edge.export.onnx.blocks import fit_int4
from awares_edge.export.onnx.formats import BlockInt4
from awares_edge.export.onnx.gptq import DAMPING, compensation, quantize

BLOCK = 32


def hessian_of(inputs):
    """As calibration measures it."""
    triangle = upper_triangle(inputs.T @ inputs / len(inputs))
    return Hessian("text.layers.0.mlp.up_proj", inputs.shape[1], lambda: triangle)


def layer(seed, rows=40, width=96, tokens=300, rank=None):
    """Weights float32 [rows, in] and inputs float32 [tokens, in] whose channels go together."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(rank or width, width)) * np.exp(rng.normal(size=width))
    inputs = rng.normal(size=(tokens, rank or width)) @ mixing
    return rng.standard_t(4, size=(rows, width)).astype(np.float32), inputs.astype(np.float32)


def stored(values, scales):
    """The weights that numbers [n, in] and scales [n, in / block] stand for."""
    blocks = values.reshape(*scales.shape, -1) * scales[..., None].astype(np.float64)
    return blocks.reshape(values.shape)


def nearest(weights, block=BLOCK):
    values, scales = fit_int4(weights.reshape(-1, block))
    return stored(values.reshape(weights.shape), scales.reshape(len(weights), -1))


def loss(weights, rounded, inputs):
    return np.square(inputs @ (weights - rounded).T.astype(np.float64)).sum()


def textbook(weights, hessian, block):
    """Algorithm 1 of the paper without its batches of columns: the inverse Hessian is shrunk by one
    row and column (Gaussian elimination, equation 3) after each column, all in float64."""
    left = weights.astype(np.float64)
    hessian = hessian.copy()
    hessian[np.diag_indices_from(hessian)] += DAMPING * np.diag(hessian).mean()
    inverse = np.linalg.inv(hessian)
    values = np.empty(weights.shape, dtype=np.int8)
    scales = np.empty((len(weights), weights.shape[1] // block), dtype=np.float32)
    for column in range(weights.shape[1]):
        if column % block == 0:
            scale = fit_int4(left[:, column : column + block].astype(np.float32))[1]
            scales[:, column // block] = scale
        values[:, column] = np.clip(np.rint(left[:, column] / scale), -8, 7)
        error = (left[:, column] - values[:, column] * scale) / inverse[column, column]
        left -= np.outer(error, inverse[column])
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return values, scales


@pytest.mark.parametrize("block", [32, 64])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_published_method(seed, block):
    weights, inputs = layer(seed, width=192)
    hessian = hessian_of(inputs)
    values, scales = quantize(weights.astype(np.float64), compensation(hessian), block)
    expected, steps = textbook(weights, hessian.matrix(), block)
    assert np.array_equal(values, expected)
    np.testing.assert_allclose(scales, steps, rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_float32_is_enough(seed):
    """The export computes in float32: a number on the edge of two may fall to the other side, and
    those behind it follow."""
    weights, inputs = layer(seed)
    upper = compensation(hessian_of(inputs))
    wide = quantize(weights.astype(np.float64), upper, BLOCK)
    narrow = quantize(weights, upper.astype(np.float32), BLOCK)
    assert np.mean(wide[0] == narrow[0]) > 0.99
    losses = [loss(weights, stored(*found), inputs) for found in (narrow, wide)]
    assert losses[0] < 1.01 * losses[1]


@given(
    seed=st.integers(0, 10_000),
    rank=st.sampled_from([None, 3, 40]),
    dead=st.sampled_from([0, 1, 30, 64]),
    power=st.integers(-12, 12),
)
def test_products_lose_no_more_than_by_rounding_to_nearest(seed, rank, dead, power):
    """Whatever the inputs: of few dimensions, with channels that are never used, large or small."""
    weights, inputs = layer(seed, rank=rank)
    inputs[:, :dead] = 0
    inputs *= np.float32(2.0**power)
    rounded = stored(*quantize(weights, compensation(hessian_of(inputs)), BLOCK))
    assert np.isfinite(rounded).all()
    assert loss(weights, rounded, inputs) <= 1.001 * loss(weights, nearest(weights), inputs)


def test_inputs_that_go_together_gain_most():
    weights, together = layer(1, rank=20)
    apart = np.random.default_rng(1).normal(size=together.shape).astype(np.float32)
    gains = []
    for inputs in (together, apart):
        rounded = stored(*quantize(weights, compensation(hessian_of(inputs)), BLOCK))
        gains.append(loss(weights, rounded, inputs) / loss(weights, nearest(weights), inputs))
    assert gains[0] < 0.3
    assert 0.6 < gains[1] < 1


def test_without_products_between_inputs_it_is_rounding_to_nearest():
    weights, _ = layer(2)
    diagonal = upper_triangle(np.diag(np.linspace(0.1, 9, weights.shape[1])))
    hessian = Hessian("a", weights.shape[1], lambda: diagonal)
    values, scales = quantize(weights, compensation(hessian), BLOCK)
    _, steps = fit_int4(weights.reshape(-1, BLOCK))
    np.testing.assert_allclose(scales.reshape(-1), steps, rtol=1e-6)
    shares = weights / np.repeat(scales, BLOCK, axis=1)
    assert np.array_equal(values, np.clip(np.rint(shares), -8, 7))


def test_channels_that_were_never_seen_keep_their_weights():
    """GPTQ's code sets them to 0; on a device they may be used after all."""
    weights, inputs = layer(3)
    inputs[:, 40:64] = 0
    rounded = stored(*quantize(weights, compensation(hessian_of(inputs)), BLOCK))
    unseen = slice(40, 64)
    step = np.abs(weights).max() / 7
    assert np.abs(rounded[:, unseen] - weights[:, unseen]).max() < step
    assert rounded[:, unseen].any(axis=0).all()


def test_scales_that_were_folded_in_change_nothing():
    """Inputs divided and weights multiplied by powers of two: the same Hessian as measured on the
    divided inputs, so smoothing needs no second measurement."""
    _, inputs = layer(4)
    scales = np.exp2(np.arange(inputs.shape[1]) % 5 - 2).astype(np.float32)
    more = np.exp2(np.arange(inputs.shape[1]) % 3).astype(np.float32)
    divided = hessian_of(inputs).divided(scales).divided(more)
    measured = hessian_of(inputs / scales / more)
    np.testing.assert_allclose(divided.matrix(), measured.matrix(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("problem", ["all zero", "not positive"])
def test_what_no_measurement_gives_is_refused(problem):
    matrix = np.zeros((BLOCK, BLOCK))
    if problem == "not positive":
        matrix += 5
        np.fill_diagonal(matrix, 1)
        matrix[0, 1] = -9
    hessian = replace(hessian_of(np.ones((1, BLOCK))), triangle=lambda: upper_triangle(matrix))
    with pytest.raises(ExportError, match=r"of text\.layers\.0\.mlp\.up_proj is not one of a"):
        compensation(hessian)


def test_the_stored_matrix_is_what_gptq_chose():
    """Streamed in pieces and by threads: rows do not depend on each other."""
    weights, inputs = layer(5, rows=50, width=128)
    hessian = hessian_of(inputs)
    pieces = [weights[:7], weights[7:48], weights[48:]]
    packed, scales = (
        np.concatenate(list(found))
        for found in BlockInt4(BLOCK, hessian).encode(iter(pieces), weights.shape)
    )
    numbers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(weights.shape).astype(int) - 8
    rounded = stored(numbers, scales)
    values, _ = quantize(weights, compensation(hessian).astype(np.float32), BLOCK)
    assert np.mean(numbers == values) > 0.99
    assert loss(weights, rounded, inputs) < 0.6 * loss(weights, nearest(weights), inputs)
