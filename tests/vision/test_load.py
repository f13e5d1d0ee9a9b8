"""Untrusted pictures: how they are read, and which are refused with one line."""

import io
import os
import struct
import threading
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, ExifTags, Image, UnidentifiedImageError, features

from awares_edge.errors import ImageError
from awares_edge.vision import load_image
from awares_edge.vision.limits import FORMATS

# Pillow warns about odd tags; these tests check only what is read or refused.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\n"
    b"0 0 32 24 rectfill\nshowpage\n%%EOF\n"
)
NOISE = np.random.default_rng(7).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class NoSeek(io.RawIOBase):
    """What a socket or a pipe gives."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def readable(self):
        return True

    def read(self, size=-1):
        return self.data.read(size)


def test_a_picture_is_read_from_path_bytes_file_array_and_pillow_alike(tmp_path):
    image = Image.fromarray(NOISE)
    path = tmp_path / "x.png"
    image.save(path)
    data = path.read_bytes()
    encodings = (data, bytearray(data), memoryview(data), io.BytesIO(data), NoSeek(data))
    for source in (path, str(path), *encodings, image, Image.open(path), NOISE):
        assert np.array_equal(np.asarray(load_image(source)), NOISE)


def test_the_callers_file_and_image_stay_as_they_are():
    file = io.BytesIO(encoded(Image.fromarray(NOISE)))
    assert load_image(file).mode == load_image(file).mode == "RGB"
    assert not file.closed
    given = Image.fromarray(NOISE.copy())
    load_image(given).putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.asarray(given), NOISE)


@pytest.mark.parametrize("kind", [k for k in FORMATS if k not in ("AVIF", "HEIF")])
def test_every_format_is_read(kind):
    image = load_image(encoded(Image.new("RGB", (16, 16), (250, 250, 250)), kind))
    assert image.size == (16, 16)
    assert min(image.getpixel((8, 8))) > 245


@pytest.mark.skipif(
    "avif" not in features.get_supported_modules(), reason="this Pillow has no AVIF"
)
def test_avif_is_read():
    assert load_image(encoded(Image.fromarray(NOISE), "AVIF")).size == (32, 24)


def test_a_stereo_jpeg_shows_its_first_picture():
    pair = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    data = encoded(pair[0], "MPO", save_all=True, append_images=pair[1:])
    assert load_image(data).getpixel((4, 4)) == (255, 255, 255)


def test_eps_never_starts_ghostscript(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("started"))
    path = tmp_path / "photo.jpg"
    path.write_bytes(EPS)
    for source in (path, EPS, io.BytesIO(EPS)):
        with pytest.raises(ImageError, match="not a readable JPEG, PNG, WebP, GIF, BMP, TIFF"):
            load_image(source)
    with Image.open(path) as image, pytest.raises(ImageError, match="is EPS, not JPEG"):
        load_image(image)


@pytest.mark.parametrize("kind", ["TGA", "ICO", "DDS", "PCX", "SGI", "JPEG2000"])
def test_other_formats_are_refused_by_name(kind):
    try:
        data = encoded(Image.new("RGB", (32, 32)), kind)
    except (OSError, KeyError):
        pytest.skip(f"this Pillow cannot write {kind}")
    with pytest.raises(ImageError, match=r"not a readable JPEG.* AVIF picture$"):
        load_image(data)
    with suppress(UnidentifiedImageError):
        decoded = Image.open(io.BytesIO(data))
        decoded.load()
        assert load_image(decoded).size == (32, 32)  # decoded by the caller: pixels like any


def test_exif_orientation_is_applied_before_anything_else():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to be upright
    loaded = load_image(encoded(Image.fromarray(NOISE), exif=exif))
    assert np.array_equal(np.asarray(loaded), np.rot90(NOISE, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_upright_picture_is_not_turned_again(kind, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(Image.fromarray(NOISE), kind, exif=exif)
    once = load_image(data)
    assert once.size == ((32, 24) if orientation < 5 else (24, 32))
    assert np.array_equal(np.asarray(load_image(once)), np.asarray(once))


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


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
def test_large_pictures_are_converted_in_bands_that_leave_no_seam(mode):
    tall = NOISE[:, :, 0].astype(np.uint16)
    tall = np.tile(tall * 257 if mode == "I;16" else tall.astype(np.uint8), (70, 100))
    grey = Image.fromarray(tall)
    image = grey if mode == "I;16" else grey.convert(mode)
    assert image.width * image.height > 5_000_000
    whole = load_image(image)
    for box in ((0, 0, 3200, 24), (0, 1240, 3200, 1264), (0, 1656, 3200, 1680)):
        assert np.array_equal(np.asarray(whole.crop(box)), np.asarray(load_image(image.crop(box))))


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


def test_files_that_are_not_pictures_are_refused(tmp_path):
    with pytest.raises(ImageError, match="no such image"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="is empty"):
        load_image(tmp_path / "empty.png")
    with pytest.raises(ImageError, match="not a readable JPEG, PNG"):
        load_image(b"hello, world")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_or_device_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", "/dev/null"):
        with pytest.raises(ImageError, match="is a pipe or device"):
            load_image(path)


@pytest.mark.parametrize("name", ["x\0.png", "x" * 5000, "a\nb.png", "\udcff.png"])
def test_odd_names_are_refused_in_one_line(name, tmp_path):
    with pytest.raises(ImageError) as caught:
        load_image(f"{tmp_path}/{name}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("source", [None, 3, object(), ["a.png"], io.StringIO("text")])
def test_other_types_are_refused(source):
    with pytest.raises(ImageError):
        load_image(source)


def test_a_closed_file_or_image_is_refused(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(NOISE).save(path)
    lazy, loaded, file = Image.open(path), Image.open(path), path.open("rb")
    loaded.load()
    for closed in (lazy, loaded, file):
        closed.close()
        with pytest.raises(ImageError):
            load_image(closed)


@pytest.mark.parametrize(
    "error",
    [RuntimeError, NotImplementedError, struct.error, SyntaxError, KeyError, TypeError,
     OverflowError, AssertionError, AttributeError, EOFError, RecursionError, MemoryError],
)  # fmt: skip
def test_whatever_a_decoder_raises_is_an_image_error(error):
    class Lazy(Image.Image):
        size = (8, 8)

        def load(self):
            raise error("of a decoder\nin two lines")

    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise error("of a file\nin two lines")

    for source in (Lazy(), Broken(b"x")):
        with pytest.raises(ImageError) as caught:
            load_image(source)
        assert str(caught.value).isprintable()


def test_a_picture_changes_nothing_global():
    before = (warnings.filters.copy(), Image.MAX_IMAGE_PIXELS)
    seen = []

    class Slow(io.BytesIO):
        def read(self, size=-1):
            seen.append((warnings.filters.copy(), Image.MAX_IMAGE_PIXELS))
            return super().read(size)

    threads = [
        threading.Thread(target=load_image, args=(Slow(encoded(Image.fromarray(NOISE))),))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen
    assert all(state == before for state in [*seen, (warnings.filters, Image.MAX_IMAGE_PIXELS)])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_that_are_not_pictures_are_refused(array):
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


def test_a_callers_own_limit_on_pixels_is_kept():
    assert load_image(Image.new("RGB", (20, 10)), max_pixels=200).size == (20, 10)
    for source in (Image.new("RGB", (20, 10)), np.zeros((10, 20, 3), np.uint8)):
        with pytest.raises(ImageError, match="20x10 pixels, over 199"):
            load_image(source, max_pixels=199)
