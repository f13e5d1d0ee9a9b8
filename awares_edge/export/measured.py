"""The file that `awares-edge calibrate weights` writes: what goes into each matrix of a checkpoint.

One safetensors file. For each matrix three float32 tensors [in], by its name without ".weight":

    NAME.largest   largest magnitude of each input: static ranges, and scales for smoothing
    NAME.mean      mean magnitude of each input: what AWQ searches its scales with
    NAME.square    mean square of each input: llama.cpp's importance matrix, GPTQ's diagonal

and for each matrix whose inputs no earlier one reads (not k, v and up) a float16 histogram:

    NAME.histogram  [in, 32], shares of each input's magnitudes: static ranges. See `histogram`.
                    Older files have none.

With `--sensitivity` also `NAME.drift` [2]: how far the logits of decisions move where this matrix
alone is stored in int8, in int4. Joined matrices have one, under the name of the first.

With `--gptq` also `NAME.hessian`: see `export.hessians`.

The inputs of joined matrices (query, key and value; gate and up) are the same, and each is there
under its own name. A tied head is stored under the embedding's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from awares_edge.checkpoint.names import EMBEDDING, expected_shapes
from awares_edge.checkpoint.safetensors_header import read_described
from awares_edge.checkpoint.tensorfile import Array, Stored
from awares_edge.errors import CheckpointError, ExportError, InputError
from awares_edge.export.hessians import (
    Hessian,
    hessian_shapes,
    hessian_tensors,
    input_owner,
    stored_hessians,
)
from awares_edge.export.histogram import BINS, belong
from awares_edge.files import whole_file
from awares_edge.schema import Limits, Text, Whole, read_dataclass
from awares_edge.spec import ModelSpec

LEAST_QUESTIONS = 8
"""With fewer, the largest magnitudes say more about the questions than about the model."""
_FORMAT = "awares-edge-measured"
_VERSION = "1"
DRIFT_FORMATS = ("int8", "int4")
"""Formats whose drift is measured, in the order of the file."""
DRIFT_BLOCK = 64
"""Inputs of the 4-bit blocks that drifts are measured with, where it divides a row."""
_STATISTICS = ("largest", "mean", "square")
_HASH = Text(64, 64, re.compile("[0-9a-f]+"), "64 hexadecimal digits")
_LIMITS: Limits = {
    "checkpoint": _HASH,
    "name": Text(0, 256),
    "dataset": Text(0, 256),
    "questions": Whole(LEAST_QUESTIONS, 1 << 24),
    "zoomed": Whole(0, 1 << 24),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where statistics come from.

    Attributes:
        checkpoint: hash of the weights (`checkpoint.fingerprint`), an adapter included.
        name: of the checkpoint, for people.
        dataset: what was asked, for people.
        questions: how many.
        zoomed: how many of them had a second turn.
    """

    checkpoint: str
    name: str
    dataset: str
    questions: int
    zoomed: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """Statistics of the inputs of one matrix, float32 [in] each.

    Attributes:
        largest: largest magnitude.
        mean: mean magnitude.
        square: mean square.
        histogram: shares of magnitudes [in, BINS]; None where they were not counted.
    """

    largest: Array
    mean: Array
    square: Array
    histogram: Array | None = None

    @property
    def range(self) -> float:
        """The largest magnitude of all inputs."""
        return float(self.largest.max())


@dataclass(frozen=True)
class Measured:
    """What goes into each matrix of one checkpoint.

    Attributes:
        inputs: by the matrix's name without ".weight", as "text.layers.0.mlp.down_proj".
        drifts: by that name (the first of joined matrices) and format (`DRIFT_FORMATS`): mean
            squared difference of decisions' logits over their variance, where this matrix alone is
            quantized. Empty where it was not measured.
        hessians: by the name of the first matrix that reads the inputs: what GPTQ needs. Empty
            where it was not measured; wide inputs may be missing.
    """

    origin: Origin
    inputs: Mapping[str, Inputs] = field(repr=False)
    drifts: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)
    hessians: Mapping[str, Hessian] = field(default_factory=dict, repr=False)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        from safetensors.numpy import save

        tensors = {
            f"{name}.{statistic}": np.ascontiguousarray(getattr(found, statistic), np.float32)
            for name, found in self.inputs.items()
            for statistic in _STATISTICS
        }
        for name, found in self.inputs.items():
            if found.histogram is not None and name == input_owner(name):
                tensors[f"{name}.histogram"] = found.histogram.astype(np.float16)
        for name, drifts in self.drifts.items():
            values = [drifts[one] for one in DRIFT_FORMATS]
            tensors[f"{name}.drift"] = np.array(values, np.float32)
        tensors |= hessian_tensors(self.hessians)
        origin = {key: str(getattr(self.origin, key)) for key in _LIMITS}
        with whole_file(path) as file:
            file.write(save(tensors, {"format": _FORMAT, "version": _VERSION, **origin}))


def measured_layers(spec: ModelSpec) -> dict[str, int]:
    """Inputs of each matrix that is measured, by the matrix's name without ".weight".

    The patch embedding is not: its inputs are pixels, whose range is known.
    """
    shapes = expected_shapes(spec)
    if not spec.tied:
        del shapes[EMBEDDING]
    return {
        name.removesuffix(".weight"): shape[1] for name, shape in shapes.items() if len(shape) == 2
    }


def drift_layers(spec: ModelSpec) -> list[str]:
    """Matrices whose drift is measured: query, key and value are one, under query's name."""
    return [name for name in measured_layers(spec) if not name.endswith((".k_proj", ".v_proj"))]


def read_measured(path: Path, spec: ModelSpec) -> Measured:
    """Read a file of statistics of a model of this shape.

    Raises:
        ExportError: no such file, not such a file, of a model of another shape, or damaged.
    """
    if not path.is_file():
        raise ExportError(f"no such calibration file: {path}")
    try:
        stored, metadata = read_described(path)
        if metadata.pop("format", "") != _FORMAT:
            raise InputError("of another kind")
        if metadata.pop("version", "") != _VERSION:
            raise InputError("of another version")
        origin = _read_origin(metadata)
    except (CheckpointError, InputError) as error:
        raise ExportError(
            f"{path} is not a file of `awares-edge calibrate weights`: measure it again"
        ) from error
    lengths = measured_layers(spec)
    expected: dict[str, tuple[int, ...]]
    expected = {f"{name}.{one}": (n,) for name, n in lengths.items() for one in _STATISTICS}
    drifts = {f"{name}.drift": (len(DRIFT_FORMATS),) for name in drift_layers(spec)}
    owners = [name for name in lengths if name == input_owner(name)]
    histograms = {f"{name}.histogram": (lengths[name], BINS) for name in owners}
    for optional in (drifts, histograms):  # all of them or none
        if stored.keys() & optional.keys():
            expected |= optional
    hessians = hessian_shapes(lengths)
    expected |= {name: hessians[name] for name in stored.keys() & hessians.keys()}
    if {name: tensor.shape for name, tensor in stored.items()} != expected:
        raise ExportError(f"{path} was measured on another model: measure it on this checkpoint")
    shares = {name: _read_histogram(path, stored, name) for name in owners}
    inputs = {name: _read_inputs(path, stored, name, shares[input_owner(name)]) for name in lengths}
    found = {name: _read_drifts(path, stored, name) for name in drift_layers(spec)}
    squares = {name: one.square for name, one in inputs.items()}
    products = stored_hessians(path, stored, squares)
    return Measured(origin, inputs, found if stored.keys() & drifts.keys() else {}, products)


def require_same(measured: Measured, path: Path, checkpoint: str) -> None:
    """
    Args:
        checkpoint: hash of the weights that are exported.

    Raises:
        ExportError: they are not those that were measured.
    """
    if measured.origin.checkpoint != checkpoint:
        raise ExportError(
            f"{path} was measured on other weights: measure it on this checkpoint, with the same "
            "adapter"
        )


def layer_names(matrix: str) -> list[str]:
    """Names of the layers of a matrix "a.weight+b.weight": a tied head has the embedding's."""
    return [part.removesuffix(".weight") for part in matrix.split("+")]


def layer_name(matrix: str) -> str:
    """Name of a matrix's first layer, which joined matrices share what was measured with."""
    return layer_names(matrix)[0]


def _read_origin(metadata: Mapping[str, str]) -> Origin:
    body: dict[str, object] = dict(metadata)
    for key in ("questions", "zoomed"):
        text = metadata.get(key, "")
        body[key] = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else text
    return read_dataclass(Origin, body, "the file's origin", _LIMITS)


def _read_drifts(path: Path, stored: Mapping[str, Stored], name: str) -> dict[str, float]:
    if (tensor := stored.get(f"{name}.drift")) is None:
        return {}
    values = _read_not_negative(path, tensor, f"the drift of {name}")
    return dict(zip(DRIFT_FORMATS, map(float, values), strict=True))


def _read_histogram(path: Path, stored: Mapping[str, Stored], name: str) -> Array | None:
    if (tensor := stored.get(f"{name}.histogram")) is None:
        return None
    return _read_not_negative(path, tensor, f"the histogram of {name}")


def _read_not_negative(path: Path, tensor: Stored, what: str) -> Array:
    """
    Raises:
        ExportError: a number is not finite, or negative.
    """
    try:
        values = tensor.rows(0, tensor.shape[0])
    except CheckpointError as error:
        raise ExportError(f"{path}: {what} must be finite: measure it again") from error
    if values.min() < 0:
        raise ExportError(f"{path}: {what} must not be negative: measure it again")
    return values


def _read_inputs(
    path: Path, stored: Mapping[str, Stored], name: str, histogram: Array | None
) -> Inputs:
    try:
        largest, mean, square = (
            stored[f"{name}.{one}"].rows(0, stored[f"{name}.{one}"].shape[0]) for one in _STATISTICS
        )
    except CheckpointError as error:
        raise ExportError(
            f"{path}: the statistics of {name} must be finite: measure them again"
        ) from error
    if min(largest.min(), mean.min(), square.min()) < 0 or not float(largest.max()) > 0:
        raise ExportError(f"{path}: the largest input of {name} must be above 0: measure it again")
    # Rounding aside, a mean is at most the largest value.
    slack = 1 + 1e-3
    if (mean > largest * slack).any() or (np.sqrt(square) > largest * slack).any():
        raise ExportError(f"{path}: the statistics of {name} contradict each other")
    if histogram is not None and not belong(histogram, largest):
        raise ExportError(f"{path}: the statistics of {name} contradict each other")
    return Inputs(largest, mean, square, histogram)
