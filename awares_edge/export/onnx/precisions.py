"""What each precision stores, and exceptions by the name of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.errors import ExportError
from awares_edge.export.graph.quantize import Float
from awares_edge.export.graph.weights import FP16, FP32, WeightFormat
from awares_edge.export.hessians import Hessian, input_owner
from awares_edge.export.measured import layer_name, layer_names
from awares_edge.export.onnx.formats import BlockInt4, DynamicInt8, StaticInt8

BLOCKS = (32, 64, 128)
"""Inputs of an int4 block that onnxruntime has fast kernels for."""
_SEVEN_BIT_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Precision:
    """Formats of the matrices, by name.

    Attributes:
        vision, text: of the two graphs.
        few: of the language model where a call has one or two tokens; None for `text`.
        gpu: the bundle also has graphs that compute in fp16.
    """

    vision: str
    text: str
    few: str | None = None
    gpu: bool = False


PRECISIONS = {
    "fp32": Precision("fp32", "fp32"),
    "fp16": Precision("fp16", "fp16", gpu=True),
    "int8": Precision("int8", "int8"),
    "int4": Precision("int8", "int4"),
    "int8+int4": Precision("int8", "int8", few="int4"),
    "int4-fp16": Precision("fp16", "int4", gpu=True),
    "w8a8": Precision("w8a8", "w8a8"),
    "mixed": Precision("int8", "int8"),
}
"""By name; the first is the default. 4-bit products are slower than float ones for more than a few
tokens, so the vision tower, whose calls have hundreds, is stored in int8 at int4 too. What "mixed"
stores is chosen within a budget, layer by layer (`Formats.use`)."""

_FLOATS: dict[str, np.dtype[Any]] = {"fp32": FP32, "fp16": FP16}
FORMATS = (*_FLOATS, "int8", "int4")


class Formats:
    """The weight format of each matrix.

    Args:
        precision: a key of `PRECISIONS`.
        keep: exceptions, each "PATTERN=FORMAT": layers whose name matches the pattern are stored
            in this format (of `FORMATS`), as "text.layers.0.*=fp16". The first match wins.
        block: inputs of an int4 block, of `BLOCKS`; smaller where it does not divide a row.
        seven_bit: keep int8 weights within 64, for x86 CPUs without VNNI.
        depth: blocks of the vision tower. The input of the last one's down_proj holds numbers
            beyond float16's range in the published models: a scale that fits them rounds all others
            to zero, so this layer is stored in fp16 unless `keep` says otherwise.

    Raises:
        ExportError: no such format or block, or int8 layers in a precision for GPUs.
    """

    def __init__(
        self,
        precision: str,
        keep: Sequence[str] = (),
        block: int = BLOCKS[1],
        seven_bit: bool = False,
        *,
        depth: int,
    ) -> None:
        if block not in BLOCKS:
            raise ExportError(f"an int4 block must be one of {_listed(BLOCKS)}, not {block}")
        self.precision = PRECISIONS[precision]
        self._keep = [_exception(item) for item in keep]
        self._unused = {pattern for pattern, _ in self._keep}
        if self.precision.gpu and any(name == "int8" for _, name in self._keep):
            raise ExportError(
                f"int8 layers compute only on CPUs: keep layers of {precision} in fp32, fp16, int4"
            )
        if self.precision.vision not in _FLOATS:
            self._keep.append((f"visual.blocks.{depth - 1}.mlp.down_proj", "fp16"))
        self._block = block
        self._int8 = DynamicInt8(_SEVEN_BIT_LIMIT) if seven_bit else DynamicInt8()
        self._range: Callable[[str], float] | None = None
        self._hessians: Mapping[str, Hessian] = {}

    def vision(self, name: str, shape: tuple[int, int]) -> WeightFormat:
        return self._format(self._kept(name) or self.precision.vision, name, shape)

    def text(self, name: str, shape: tuple[int, int]) -> WeightFormat:
        return self._format(self._kept(name) or self.precision.text, name, shape)

    def few(self, name: str, shape: tuple[int, int]) -> WeightFormat:
        kind = self._kept(name) or self.precision.few or self.precision.text
        return self._format(kind, name, shape)

    def every(self, name: str, shape: tuple[int, int]) -> list[WeightFormat]:
        """Each format in which a matrix is stored."""
        users = (self.vision,) if name.startswith("visual.") else (self.text, self.few)
        return [user(name, shape) for user in users]

    def spare(self, layers: Iterable[str]) -> None:
        """Store layers in fp16, unless `keep` names another format for them."""
        self._keep.extend((layer, "fp16") for layer in layers)

    def options(self, name: str, shape: tuple[int, int]) -> dict[str, WeightFormat]:
        """The formats that a mix may choose from for a matrix, by name: what `keep` says, or all
        but fp32."""
        kept = self._kept(name)
        kinds = [kept] if kept else [kind for kind in FORMATS if kind != "fp32"]
        return {kind: self._format(kind, name, shape) for kind in kinds}

    def use(self, mix: Mapping[str, str]) -> None:
        """Store matrices as a mix says, by name ("a.weight+b.weight"), after what `keep` says."""
        for name, kind in mix.items():
            self._keep.append((layer_name(name), kind))

    def over(self, input_range: Callable[[str], float]) -> None:
        """Quantize the inputs of w8a8 matrices over these ranges, by the matrix's name."""
        self._range = input_range

    def compensate(self, hessians: Mapping[str, Hessian]) -> None:
        """Choose 4-bit numbers by GPTQ where the Hessian of a layer's inputs is there."""
        self._hessians = hessians

    def embedding(self) -> np.dtype[Any]:
        """dtype of the embedding's file, which a tied float head reads too: fp16 where the head, or
        the text model, is quantized."""
        return _FLOATS.get(self._kept(EMBEDDING) or self.precision.text, FP16)

    def check_keep(self) -> None:
        """Call after the graphs are built.

        Raises:
            ExportError: a pattern of `keep` matches no layer.
        """
        if self._unused:
            raise ExportError(
                f"no layer is named {_listed(sorted(self._unused))}: layers are named like "
                "text.layers.0.mlp.down_proj, visual.blocks.0.attn.qkv and lm_head"
            )

    def _kept(self, name: str) -> str | None:
        layers = layer_names(name)
        found = None
        for pattern, kept in self._keep:
            if any(fnmatchcase(layer, pattern) for layer in layers):
                self._unused.discard(pattern)
                found = found or kept
        return found

    def _format(self, kind: str, name: str, shape: tuple[int, int]) -> WeightFormat:
        if kind in _FLOATS:
            return Float(_FLOATS[kind])
        if kind == "w8a8":
            return StaticInt8(self._int8.limit, self._range and self._range(name))
        if kind == "int4":
            block = next((b for b in (128, 64, 32) if b <= self._block and shape[1] % b == 0), 0)
            if block:
                return BlockInt4(block, self._hessians.get(input_owner(layer_name(name))))
            if self.precision.gpu:
                return Float(FP16)
        return self._int8


def _exception(item: str) -> tuple[str, str]:
    """The pattern and the format of "PATTERN=FORMAT"."""
    pattern, _, name = item.partition("=")
    if not pattern or name not in FORMATS:
        raise ExportError(
            f"{item!r} keeps no layer: write PATTERN=FORMAT with a format of {_listed(FORMATS)}, "
            "as in text.layers.0.*=fp16"
        )
    return pattern, name


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
