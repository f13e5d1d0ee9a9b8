"""GGUF headers: what llama.cpp would abort over, or look for elsewhere, is refused before."""

import struct
import tracemalloc

import pytest

from awares_edge.errors import BundleError
from awares_edge.runtimes.llamacpp import header
from awares_edge.runtimes.llamacpp.header import read_header

U32, U64, F32, STRING, ARRAY = 4, 10, 6, 8, 9


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def key(name, kind, value):
    code = {U32: "I", U64: "Q", F32: "f"}.get(kind)
    return text(name) + struct.pack("<I", kind) + (struct.pack(code, value) if code else value)


def strings(count, each=""):
    return struct.pack("<IQ", STRING, count) + count * text(each)


@pytest.fixture
def read(tmp_path):
    def write(*keys, tensors=("w",)):
        table = [text(name) + struct.pack("<IQIQ", 1, 4, 0, 0) for name in tensors]
        head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
        data = head + b"".join(keys) + b"".join(table)
        (tmp_path / "m.gguf").write_bytes(data + bytes(-len(data) % 64 + 64))
        return read_header(tmp_path / "m.gguf")

    return write


def test_a_small_file(read):
    found = read(key("a", U32, 7), key("names", ARRAY, strings(40, "x")))
    assert found.keys == {"a": 7, "names": ["x"] * 16}
    assert found.shapes == {"w": (4,)}


def test_parts_that_llama_cpp_would_look_for_itself(read):
    read(key("split.count", U32, 0))
    read(key("split.count", U32, 1))
    with pytest.raises(BundleError, match="one of several parts"):
        read(key("split.count", U32, 2))


@pytest.mark.parametrize("kind", [U64, 5, 7])
def test_numbers_of_the_vision_tower_are_of_the_type_that_is_read(read, kind):
    read(key("clip.vision.block_count", U32, 2))
    if kind == 7:
        assert read(text("clip.use_gelu") + struct.pack("<I?", 7, True)).keys
        return
    with pytest.raises(BundleError, match="damaged header"):
        read(text("clip.vision.block_count") + struct.pack("<IQ", kind, 2))


@pytest.mark.parametrize("alignment", [0, 3, 48, 1 << 21])
def test_an_alignment_that_is_no_power_of_two(read, alignment):
    read(key("general.alignment", U32, 64))
    with pytest.raises(BundleError, match="damaged header"):
        read(key("general.alignment", U32, alignment))


def test_a_name_twice(read):
    with pytest.raises(BundleError, match="damaged header"):
        read(key("a", U32, 7), key("a", U32, 8))
    with pytest.raises(BundleError, match="damaged header"):
        read(tensors=("w", "w"))


def test_strings_without_end_cost_neither_time_nor_memory(read, monkeypatch):
    monkeypatch.setattr(header, "_MAX_STRINGS", 1000)
    read(key("a", ARRAY, strings(900)))
    with pytest.raises(BundleError, match="damaged header"):
        read(*(key(f"k{i}", ARRAY, strings(900)) for i in range(2)))
    monkeypatch.setattr(header, "_MAX_KEPT_BYTES", 1 << 20)
    tracemalloc.start()
    with pytest.raises(BundleError, match="damaged header"):
        read(*(key(f"k{i}", STRING, text("x" * 100_000)) for i in range(90)))
    assert tracemalloc.get_traced_memory()[0] < 4 << 20
    tracemalloc.stop()
