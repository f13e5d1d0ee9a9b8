"""Small files that ask for much memory or time are refused from their headers."""

import struct
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from PIL import Image

from awares_edge.errors import ImageError
from awares_edge.vision import load_image
from awares_edge.vision.limits import MAX_SCAN_PIXELS
from awares_edge.vision.source import MAX_IMAGE_BYTES, MAX_METADATA_BYTES
from tests.vision.test_load import encoded

# Pillow warns of what it also refuses.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks, size=(8, 8)):
    """A PNG of 8 x 8 grey pixels, of whatever size it claims, with chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(8 * 9)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def test_a_narrow_strip_is_refused():
    with pytest.raises(ImageError, match="over 200 times"):
        load_image(Image.new("RGB", (2010, 10)))
    load_image(Image.new("RGB", (2000, 10)))


def test_a_decompression_bomb_is_refused_from_its_header():
    with pytest.raises(ImageError, match="scale it down first"):
        load_image(png(size=(60_000, 60_000)))
    with pytest.raises(ImageError, match="12000x11000 pixels"):
        load_image(png(size=(12_000, 11_000)))


BOMB = zlib.compress(bytes(900_000), 9)
TINY_JPEG = encoded(Image.new("RGB", (8, 8)), "JPEG")
TINY_GIF = encoded(Image.new("P", (8, 8)), "GIF")
GIF_BODY = TINY_GIF.index(b",")


def directory(entries, size):
    """A TIFF directory whose every tag claims the same `size` bytes."""
    tags = (struct.pack("<HHLL", 20_000 + n, 7, size, 8) for n in range(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + b"".join(tags) + bytes(4)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20), 9))), "damaged"),
        (png(*[chunk(b"zTXt", b"a\0\0" + BOMB)] * 100), "damaged"),
        (png(*[chunk(b"iCCP", b"a\0\0" + BOMB)] * 5), "over 4 colour profiles"),
        (png(chunk(b"eXIf", bytes(MAX_METADATA_BYTES))), "over 16 MB of metadata"),
        (png(chunk(b"tEXt", b"a\0b") * 300_000), "too many small parts"),
        (TINY_JPEG[:2] + segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 300 + TINY_JPEG[2:],
         "over 16 MB of metadata"),
        (TINY_JPEG[:2] + b"\xff" * 600_000 + TINY_JPEG[2:], "too many small parts"),
        (TINY_GIF[:GIF_BODY] + b"!\xfe" + b"\x01a" * 300_000 + b"\0" + TINY_GIF[GIF_BODY:],
         "too many small parts"),
        (b"P6\n#" + b"a" * 600_000 + b"\n8 8 255\n" + bytes(192), "too many small parts"),
        (directory(30_000, 360_000), "metadata|not a readable"),
        (b"P3 2000 2000 255\n1 1 1", "as text"),
        (b"P6 2000 2000 254\n" + bytes(99), "unusual maximum"),
    ],
    ids=["text bomb", "text bombs", "profiles", "exif", "chunks", "exif segments", "fill bytes",
         "gif comment", "ppm comment", "tag bomb", "text pixels", "maximum"],
)  # fmt: skip
def test_a_bomb_in_the_metadata_is_refused(data, says):
    with pytest.raises(ImageError, match=says):
        load_image(data)


def tiled(side):
    """A TIFF of 8 x 8 grey pixels in one uncompressed tile of `side` x `side`."""
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 322: side, 323: side, 324: 134, 325: 64}
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4 + 16**2)


def test_a_false_length_allocates_no_memory(tmp_path):
    path = tmp_path / "x.png"
    data = png()
    at = data.index(b"IDAT")
    path.write_bytes(data[: at - 4] + struct.pack(">I", 0x7FFFFFFF) + data[at:])
    tracemalloc.start()
    try:
        with suppress(ImageError):
            load_image(path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_tiles_larger_than_a_picture_are_refused():
    assert load_image(tiled(16)).size == (8, 8)
    with pytest.raises(ImageError, match="tiles of over"):
        load_image(tiled(20_000))


def test_a_progressive_jpeg_with_endless_scans_is_refused():
    data = encoded(Image.new("RGB", (2000, 1000)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert load_image(data).size == (2000, 1000)
    many = data[:-2] + last * (MAX_SCAN_PIXELS // 2_000_000) + data[-2:]
    with pytest.raises(ImageError, match="scans"):
        load_image(many)


def test_a_file_that_is_too_long_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)  # sparse
    with pytest.raises(ImageError, match="longer than 512 MB"):
        load_image(path)
