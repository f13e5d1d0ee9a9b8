"""Untrusted pictures: what is read, how, and what is refused in one line."""

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from awares_edge.errors import ImageError
from awares_edge.vision import load_image

NOISE = np.random.default_rng(7).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_picture_is_read_from_path_bytes_file_array_and_pillow_alike(tmp_path):
    image = Image.fromarray(NOISE)
    path = tmp_path / "x.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), image, NOISE):
        assert np.array_equal(np.asarray(load_image(source)), NOISE)


def test_exif_orientation_is_applied_before_anything_else():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to be upright
    loaded = load_image(encoded(Image.fromarray(NOISE), exif=exif))
    assert np.array_equal(np.asarray(loaded), np.rot90(NOISE, -1))


def test_transparency_is_composed_on_white():
    rgba = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert load_image(encoded(rgba)).getpixel((0, 0)) == (255, 255, 255)
    half = Image.new("LA", (4, 4), (0, 128))
    assert load_image(encoded(half)).getpixel((0, 0)) == (127, 127, 127)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30] + [0] * 765)
    assert load_image(encoded(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_grey_is_scaled_and_not_clipped():
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    loaded = load_image(encoded(Image.fromarray(values)))
    assert [loaded.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "HSV", "LAB", "F", "I"])
def test_every_mode_becomes_rgb(mode):
    image = Image.new(mode, (8, 8)) if mode != "LAB" else Image.new("LAB", (8, 8))
    assert load_image(image).mode == "RGB"


def test_cmyk_jpeg_keeps_its_colour():
    red = load_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).getpixel((4, 4))
    assert red[0] > 200
    assert max(red[1:]) < 60


def test_an_animation_shows_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_image(data).getpixel((0, 0)) == (255, 0, 0)


def test_a_truncated_picture_is_refused(tmp_path):
    path = tmp_path / "half.png"
    data = encoded(Image.fromarray(np.tile(NOISE, (8, 8, 1))))
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"half\.png is truncated or damaged"):
        load_image(path)


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no such image"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="is empty"):
        load_image(tmp_path / "empty.png")
    with pytest.raises(ImageError, match="not a picture"):
        load_image(b"hello, world")


def test_a_narrow_strip_is_refused():
    with pytest.raises(ImageError, match="over 200 times"):
        load_image(Image.new("RGB", (2010, 10)))
    load_image(Image.new("RGB", (2000, 10)))


def test_a_decompression_bomb_is_refused_from_its_header():
    # A PNG that claims 60000 x 60000 pixels in 60 bytes.
    import struct
    import zlib

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    with pytest.raises(ImageError, match="scale it down first"):
        load_image(bomb)
    flat = struct.pack(">IIBBBBB", 20_000, 8_000, 8, 2, 0, 0, 0)
    large = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", flat) + chunk(b"IDAT", zlib.compress(b""))
    with pytest.raises(ImageError, match="20000x8000 pixels"):
        load_image(large)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(ImageError, match="image array"):
        load_image(array)


@settings(max_examples=150)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0.2, 1.0),
)
def test_damaged_files_are_read_or_refused_and_never_crash(kind, edits, keep):
    data = bytearray(encoded(Image.fromarray(NOISE), kind))
    for at, value in edits:
        data[at % len(data)] = value
    with suppress(ImageError):
        assert load_image(bytes(data[: max(1, int(len(data) * keep))])).mode == "RGB"
