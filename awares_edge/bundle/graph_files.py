"""Which files an ONNX graph reads: external weights must be files that the manifest lists.

A graph can name files that onnxruntime and TensorRT open. Devices have no `onnx`
package, so this module walks the protobuf itself: it follows only messages that hold the literal
key "location", without which no tensor can name a file, and refuses what it does not understand.

Field numbers are those of `onnx.proto`; the wire format is protobuf's.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

from awares_edge.errors import BundleError
from awares_edge.schema import shown

MAX_FIELDS = 1 << 18
"""Most protobuf fields that are read of one graph (a 72B model: about 10,000)."""
_MAX_DEPTH = 32
_MAX_VARINT = 10
_MAX_ENTRY = 128
# Larger graphs, which contain weights, are mapped: searching bytes is faster.
_READ_BYTES = 64 << 20
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


def check_graph_file(root: Path, name: str, sizes: Mapping[str, int]) -> None:
    """Check that a graph reads only listed files, and only bytes that they have.

    Args:
        root: the bundle's folder.
        name: the graph's file in it.
        sizes: bytes of every listed file, by name.

    Raises:
        BundleError: it reads another file, or is not an ONNX graph.
    """
    with (root / name).open("rb") as file:
        size = sizes[name]
        if size == 0:
            raise BundleError(f"{name} is empty: copy or export the bundle again")
        if size <= _READ_BYTES:
            external = _external_data(file.read(), name)
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                external = _external_data(data, name)
    folder = name[: name.rfind("/") + 1]
    for entry in external:
        location = entry.get(_KEY, b"").decode("ascii", "replace")
        size = sizes.get(folder + location, -1)
        if size < 0 or "/" in location:
            raise BundleError(
                f"{name} reads the file {shown(location)}, which the manifest does not list: "
                "do not trust this bundle"
            )
        offset, length = entry.get(b"offset", b"0"), entry.get(b"length", b"0")
        # isdigit: for bytes it accepts only 0 to 9.
        if not (offset.isdigit() and length.isdigit() and max(map(len, (offset, length))) < 19):
            raise BundleError(f"{name} has a damaged weight location: export the bundle again")
        if int(offset) + int(length) > size:
            raise BundleError(f"{name} reads beyond the end of {location}: export the bundle again")


def _external_data(data: bytes | mmap.mmap, name: str) -> list[dict[bytes, bytes]]:
    if data.find(_COMPILED) >= 0:
        raise BundleError(
            f"{name} holds a compiled engine ({_COMPILED.decode()}), which may read any file: "
            "do not trust this bundle"
        )
    walker = _Walker(data, name)
    walker.walk("model", 0, len(data), _MAX_DEPTH)
    return walker.external


class _Walker:
    """Collects the external data of all tensors in a graph.

    Attributes:
        external: what each tensor with external data says of it: b"location", b"offset", b"length".
    """

    def __init__(self, data: bytes | mmap.mmap, name: str) -> None:
        self.external: list[dict[bytes, bytes]] = []
        self._data = data
        self._name = name
        self._left = MAX_FIELDS

    def walk(self, kind: str, at: int, stop: int, depth: int) -> None:
        """Walk the message of this kind in bytes [at, stop)."""
        if depth == 0:
            raise self._damaged()
        data, children = self._data, _CHILDREN[kind]
        find = data.find
        entries: dict[bytes, bytes] = {}
        while at < stop:
            self._left -= 1
            tag, at = (data[at], at + 1) if data[at] < 0x80 else self._varint(at, stop)
            wire = tag & 7
            if wire == 2 and at < stop:
                length, at = (data[at], at + 1) if data[at] < 0x80 else self._varint(at, stop)
                end = at + length
            else:
                end = self._skip(wire, at, stop)
            # protobuf keeps the low 32 bits of a longer tag: it would see another field.
            if end > stop or not 8 <= tag < 1 << 32 or self._left < 0:
                raise self._damaged()
            child = children.get(tag >> 3)
            if child is not None and (child == "entry" or find(_KEY, at, end) >= 0):
                if wire != 2:
                    raise self._damaged()
                if child != "entry":
                    self.walk(child, at, end, depth - 1)
                else:
                    key, value = self._entry(data[at : min(end, at + _MAX_ENTRY)])
                    if key in entries:
                        raise self._damaged()
                    entries[key] = value
            at = end
        if entries:
            self.external.append(entries)

    def _entry(self, raw: bytes) -> tuple[bytes, bytes]:
        """Key and value of a StringStringEntryProto in the form that every serializer writes."""
        key, _, rest = raw[2:].partition(b"\x12")
        value = rest[1:]
        if raw[:2] != bytes((0x0A, len(key))) or rest[:1] != bytes((len(value),)):
            raise self._damaged()
        return key, value

    def _skip(self, wire: int, at: int, stop: int) -> int:
        """Where a number of this wire type ends."""
        if wire == 0:
            return self._varint(at, stop)[1]
        if wire in (1, 5):
            return at + (8 if wire == 1 else 4)
        raise self._damaged()

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
