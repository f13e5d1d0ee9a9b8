"""Number formats, names and limits of the GGUF export, without torch or llama.cpp."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (extra gguf)")

from awares_edge.errors import ExportError
from awares_edge.export.gguf.convert import encode, half_from_bf16, to_bf16
from awares_edge.export.gguf.files import file_names
from awares_edge.export.gguf.limits import window_pattern
from awares_edge.export.gguf.metadata import size_label
from awares_edge.spec import VisionSpec


def test_bf16_rounds_as_ml_dtypes_does():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint64).astype(np.uint32)
    bits[:5] = [0, 0x80000000, 0x7F800000, 0xFF800000, 0x3F808000]
    numbers = bits.view(np.float32)
    with np.errstate(all="ignore"):
        theirs = numbers.astype(ml_dtypes.bfloat16).view(np.uint16)
    ours = to_bf16(numbers)
    nan = np.isnan(numbers)
    assert np.array_equal(ours[~nan], theirs[~nan])
    assert np.isnan((ours[nan].astype(np.uint32) << 16).view(np.float32)).all()


def test_bf16_to_f16_is_the_rounded_number():
    every = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(all="ignore"):
        expected = (every.astype(np.uint32) << 16).view(np.float32).astype(np.float16)
    finite = np.isfinite(expected)
    ours = half_from_bf16(np.tile(every[finite], 9).reshape(9, -1), "x")
    assert np.array_equal(ours.view(np.uint16)[4], expected[finite].view(np.uint16))
    for bits in every[~finite]:
        with pytest.raises(ExportError):
            half_from_bf16(np.array([0, bits, 0], np.uint16), "x")


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_f16_refuses_what_it_cannot_hold(numbers):
    array = np.array(numbers, np.float32)
    bits = to_bf16(array)
    rounded = (bits.astype(np.uint32) << 16).view(np.float32)
    for convert, values in (
        (lambda: encode(array, "f16", "x"), array),
        (lambda: half_from_bf16(bits, "x"), rounded),
    ):
        if np.abs(values).max() >= 65520:
            with pytest.raises(ExportError, match="f16 cannot hold"):
                convert()
        else:
            assert np.isfinite(convert()).all()


@pytest.mark.parametrize(
    ("parameters", "label"),
    [(8_292_166_656, "8.3B"), (72_700_000_000, "73B"), (4_269_376, "4.3M"), (950, "950")],
)
def test_size_labels(parameters, label):
    assert size_label(parameters) == label


@pytest.mark.parametrize(
    ("name", "precision", "text", "vision"),
    [
        ("Qwen2.5-VL-7B", "q4_k_m", "Qwen2.5-VL-7B-Q4_K_M.gguf", "mmproj-Qwen2.5-VL-7B-F16.gguf"),
        ("a b/..", "f32", "a-b-F32.gguf", "mmproj-a-b-F32.gguf"),
        ("...", "bf16", "model-BF16.gguf", "mmproj-model-BF16.gguf"),
        ("mmproj", "f16", "model-mmproj-F16.gguf", "mmproj-model-mmproj-F16.gguf"),
    ],
)
def test_file_names(name, precision, text, vision):
    assert file_names(name, precision) == (text, vision)


@pytest.mark.parametrize(
    ("depth", "full", "pattern"),
    [
        (32, (7, 15, 23, 31), 8),
        (4, (3,), 4),
        (3, (), 4),
        (2, (0, 1), 0),
        (1, (0,), 0),
        (3, (1,), 2),
    ],
)
def test_window_patterns(depth, full, pattern):
    spec = VisionSpec(64, 96, depth, 2, 112, full, 96)
    assert window_pattern(spec) == pattern


@pytest.mark.parametrize("full", [(0, 3), (1, 2), (1,), (3, 4)])
def test_window_patterns_that_gguf_cannot_hold(full):
    with pytest.raises(ExportError, match="only at equal distances"):
        window_pattern(VisionSpec(64, 96, 6, 2, 112, full, 96))
