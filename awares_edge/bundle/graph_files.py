"""Which files an ONNX graph reads: external weights must be files that the manifest lists.

A graph names files of its own for onnxruntime and TensorRT to open. Devices have no `onnx`
package, so this module walks the protobuf itself: it follows only messages that hold the literal
key "location", without which no tensor can name a file, and refuses what it does not understand.

Field numbers are those of `onnx.proto`; the wire format is protobuf's.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from awares_edge.errors import BundleError
from awares_edge.schema import shown

MAX_FIELDS = 1 << 18
"""Most protobuf fields that are read of one graph (a 72B model: about 10,000)."""
_MAX_DEPTH = 32
_MAX_VARINT = 10
_MAX_ENTRY = 128
_KEY = b"location"
# An attribute of this node names a file for an execution provider to open.
_COMPILED = b"EPContext"

# Messages that lead to tensors: field number -> kind of message.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "function": {7: "node", 11: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}

Span: TypeAlias = tuple[int, int]


def check_graph_file(root: Path, name: str, sizes: Mapping[str, int]) -> None:
    """Check that a graph reads only listed files, and only bytes that they have.

    Args:
        root: the bundle's folder.
        name: the graph's file in it.
        sizes: bytes of every listed file, by name.

    Raises:
        BundleError: it reads another file, or is not an ONNX graph.
    """
    path = root / name
    if path.stat().st_size == 0:
        raise BundleError(f"{name} is empty: copy or export the bundle again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(_COMPILED) >= 0:
            raise BundleError(
                f"{name} holds a compiled engine ({_COMPILED.decode()}), which may read any file: "
                "do not trust this bundle"
            )
        walker = _Walker(data, name)
        walker.walk("model", (0, len(data)), _MAX_DEPTH)
    folder = name.rpartition("/")[0]
    for entry in walker.external:
        location = entry.get("location", "")
        target = f"{folder}/{location}" if folder else location
        if target not in sizes or "/" in location:
            raise BundleError(
                f"{name} reads the file {shown(location)}, which the manifest does not list: "
                "do not trust this bundle"
            )
        offset, length = (_number(entry.get(key, "0"), name) for key in ("offset", "length"))
        if offset + length > sizes[target]:
            raise BundleError(f"{name} reads beyond the end of {target}: export the bundle again")


class _Walker:
    """Collects the external data of all tensors in a graph.

    Attributes:
        external: what each tensor with external data says: "location", "offset", "length".
    """

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self.external: list[dict[str, str]] = []
        self._data = data
        self._name = name
        self._left = MAX_FIELDS

    def walk(self, kind: str, span: Span, depth: int) -> None:
        if depth == 0:
            raise self._damaged()
        children, find = _CHILDREN[kind], self._data.find
        entries: dict[str, str] = {}
        for number, wire, inner in self._fields(span):
            child = children.get(number)
            if child == "entry":
                key, value = self._entry(inner, wire)
                if key in entries:
                    raise self._damaged()
                entries[key] = value
            elif child and find(_KEY, *inner) >= 0:
                if wire != 2:
                    raise self._damaged()
                self.walk(child, inner, depth - 1)
        if entries:
            self.external.append(entries)

    def _entry(self, span: Span, wire: int) -> tuple[str, str]:
        """Key and value of a StringStringEntryProto in the form that every serializer writes."""
        raw = self._data[span[0] : min(span[1], span[0] + _MAX_ENTRY)]
        key, _, rest = raw[2:].partition(b"\x12")
        value = rest[1:]
        if wire != 2 or raw[:2] != bytes((0x0A, len(key))) or rest[:1] != bytes((len(value),)):
            raise self._damaged()
        return key.decode("ascii", "replace"), value.decode("ascii", "replace")

    def _fields(self, span: Span) -> Iterator[tuple[int, int, Span]]:
        """(field number, wire type, where its value is) of each field of a message."""
        data, (at, stop) = self._data, span
        while at < stop:
            self._left -= 1
            if self._left < 0:
                raise self._damaged()
            tag, at = (data[at], at + 1) if data[at] < 0x80 else self._varint(at, stop)
            number, wire = tag >> 3, tag & 7
            if wire == 2:
                if at == stop:
                    raise self._damaged()
                length, at = (data[at], at + 1) if data[at] < 0x80 else self._varint(at, stop)
                end = at + length
            elif wire == 0:
                end = self._varint(at, stop)[1]
            elif wire in (1, 5):
                end = at + (8 if wire == 1 else 4)
            else:
                raise self._damaged()
            # protobuf keeps the low 32 bits of a longer tag: it would see another field.
            if end > stop or not 0 < tag >> 3 < 1 << 29:
                raise self._damaged()
            yield number, wire, (at, end)
            at = end

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """Value of a varint and the offset after it."""
        value = shift = 0
        for i in range(at, min(at + _MAX_VARINT, stop)):
            byte = self._data[i]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, i + 1
            shift += 7
        raise self._damaged()

    def _damaged(self) -> BundleError:
        return BundleError(
            f"{self._name} is not an ONNX graph of this tool: copy or export the bundle again"
        )


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BundleError(f"{name} has a damaged weight location: export the bundle again")
    return int(text)
