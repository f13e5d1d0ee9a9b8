"""GPTQ: 4-bit numbers whose errors make up for each other (Frantar et al., arXiv:2210.17323).

The weights of a row are rounded one input after another. The weights of later inputs are adjusted
to compensate the error of the product, by amounts that follow from the correlation of the inputs on
the calibration questions. Rows are independent of each other.

onnxruntime's own (`quantization.neural_compressor.weight_only.gptq`) cannot be used: it returns the
rounded weights without their scales, takes a scale from the largest number of a block alone, and
needs the whole matrix at once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ExportError
from awares_edge.export.hessians import Hessian
from awares_edge.export.onnx.blocks import fit_int4
from awares_edge.extras import require

DAMPING = 0.03
"""Share of the mean of the diagonal that is added to it; inputs that were never seen are then
rounded to nearest. The paper has 0.01: with the 24 questions of the synthetic suite, 0.03 loses 4%
less on other questions, and as much with 72."""


def compensation(hessian: Hessian) -> NDArray[np.float64]:
    """By how much each input's weight makes up for an error of one weight before it.

    Returns:
        float64 [n, n], of which what lies above the diagonal counts: an error e of weight i is
        made up for best, by the weights behind it, where e * [i, k] is taken from each weight k.

    Raises:
        ExportError: it is not a Hessian that was measured, or its file is damaged.
    """
    matrix = hessian.matrix()
    diagonal = np.einsum("ii->i", matrix)
    diagonal += DAMPING * diagonal.mean()
    try:
        # With the order reversed twice, H = R Rᵀ for an upper triangular R; then its inverse is
        # (R⁻¹)ᵀ R⁻¹, whose Cholesky factor is what GPTQ asks for.
        lower = np.linalg.cholesky(matrix[::-1, ::-1])
    except np.linalg.LinAlgError as error:
        raise ExportError(
            f"the Hessian of {hessian.name} is not one of a measurement: measure it again"
        ) from error
    del matrix, diagonal  # of wide inputs each copy takes a gigabyte
    upper: NDArray[np.float64] = np.linalg.inv(lower)[::-1, ::-1]
    upper /= upper.diagonal()[:, None].copy()
    return upper


def quantize(
    rows: NDArray[np.floating], compensate: NDArray[np.floating], block: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """4-bit numbers and scales of rows, with the least error of their products.

    The scale of a block is fitted to its weights as they are when their turn comes (`fit_int4`).

    Args:
        rows: [n, in], computed with in their own dtype.
        compensate: [in, in], as from `compensation`.
        block: inputs of a block, a divisor of `in`.

    Returns:
        values int8 [n, in] from -8 to 7; scales float32 [n, in / block], of either sign.
    """
    count, inputs = rows.shape
    left = rows.T.copy()  # an input's weights lie side by side
    values = np.empty((inputs, count), dtype=np.int8)
    scales = np.empty((inputs // block, count), dtype=np.float32)
    for number, start in enumerate(range(0, inputs, block)):
        stop = start + block
        scale = fit_int4(left[start:stop].T.astype(np.float32))[1]
        scales[number] = scale
        errors = left[start:stop].copy()
        for i in range(block):
            steps = np.clip(np.rint(errors[i] / scale), -8, 7)
            values[start + i] = steps
            errors[i] -= steps * scale
            later = compensate[start + i, start + i + 1 : stop]
            errors[i + 1 :] -= np.multiply.outer(later, errors[i])
        left[stop:] -= compensate[start:stop, stop:].T @ errors
    return values.T, scales.T


def require_gptq() -> None:
    """
    Raises:
        RuntimeUnavailable: a package is missing; the message says how to install it.
    """
    require("GPTQ", {"threadpoolctl": "awares-edge[export]"})


def one_blas_thread() -> AbstractContextManager[object]:
    """numpy's products without threads of their own, which would only wait for each other beside
    those that call `quantize`."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits
