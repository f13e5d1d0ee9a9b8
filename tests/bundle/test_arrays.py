"""Untrusted `.npy` files: one matrix of floats, or one line."""

import struct

import numpy as np
import pytest

from awares_edge.bundle.arrays import MAX_HEADER_BYTES, map_matrix
from awares_edge.errors import BundleError

TABLE = np.arange(12, dtype=np.float32).reshape(3, 4)


def raw(header, data=b"", version=1):
    text = header.encode("latin1")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_matrix_is_mapped_and_not_read(tmp_path, dtype):
    np.save(tmp_path / "a.npy", TABLE.astype(dtype))
    table = map_matrix(tmp_path / "a.npy", (3, 4))
    assert isinstance(table, np.memmap)
    assert not table.flags.writeable
    np.testing.assert_array_equal(table, TABLE)


@pytest.mark.parametrize(
    "array",
    [
        TABLE.T,
        TABLE[:2],
        TABLE.ravel(),
        TABLE.astype(np.float64),
        TABLE.astype(np.int32),
        TABLE.astype(">f4"),
        np.asfortranarray(TABLE),
        np.zeros((3, 4), [("a", "<f4")]),
    ],
)
def test_another_matrix(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(BundleError, match="does not fit the manifest"):
        map_matrix(tmp_path / "a.npy", (3, 4))


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="is not an array of numbers"):
        map_matrix(tmp_path / "a.npy", (1, 1))


@pytest.mark.parametrize("size", [0, 1, 7, 9, 40, -1])
def test_bytes_missing_or_left_over(tmp_path, size):
    path = tmp_path / "a.npy"
    np.save(path, TABLE)
    data = path.read_bytes()
    path.write_bytes(data[:size] if size != 1 else data + b"x")
    with pytest.raises(BundleError, match=r"is not an array|truncated or too long"):
        map_matrix(path, (3, 4))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "(" * 900,
        "[" * 60_000,
        "{" * (MAX_HEADER_BYTES + 1),
        "'\\n'",
        "'unterminated",
        "__import__('os').abort()",
        "{'descr': '<f4'}",
        "{'descr': 'x', 'fortran_order': False, 'shape': (3, 4)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
        "{[]: 1}",
        "9" * 900,
    ],
)
def test_headers_that_are_not_one(tmp_path, header):
    (tmp_path / "a.npy").write_bytes(raw(header))
    with pytest.raises(BundleError, match="is not an array") as caught:
        map_matrix(tmp_path / "a.npy", (3, 4))
    assert "\n" not in str(caught.value)


def test_no_file_and_no_version(tmp_path):
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        map_matrix(tmp_path / "a.npy", (3, 4))
    (tmp_path / "a.npy").write_bytes(raw("{}", version=9))
    with pytest.raises(BundleError, match="is not an array"):
        map_matrix(tmp_path / "a.npy", (3, 4))
