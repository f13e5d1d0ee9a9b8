"""Damaged pictures of every format, and odd sizes: read or refused, never anything else."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, features

from awares_edge.errors import ImageError
from awares_edge.vision import (
    Grid,
    Preprocessing,
    extract_patches,
    image_advance,
    image_positions,
    load_image,
    smart_resize,
)
from awares_edge.vision.limits import MAX_IMAGE_PIXELS
from awares_edge.vision.windows import attention_windows, vision_rotary
from tests.fuzz.mutate import damage

pytestmark = pytest.mark.fuzz

CASES = 6_000
"""Of each format."""


def exif():
    tags = Image.Exif()
    tags[0x0112] = 6  # Orientation
    tags[0x010F] = "a camera of some make"
    tags.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    tags.get_ifd(0x8825)[1] = "N"
    return tags


class Stream(io.RawIOBase):
    """A file that cannot seek."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def read(self, size=-1):
        return self.data.read(size)


class Pictures:
    """One format: `variants` are (mode, options of `save`) of its undamaged files."""

    format = ""
    variants: tuple = ()

    def __init__(self, folder):
        self.path = folder / "photo.jpg"  # the name says nothing
        rng = np.random.default_rng(1)
        noise = Image.fromarray(rng.integers(0, 256, (21, 34, 4), dtype=np.uint8), "RGBA")
        smooth = noise.resize((40, 30), Image.Resampling.BICUBIC)
        self.seeds = [self.encode(image, *v) for v in self.variants for image in (noise, smooth)]

    def encode(self, image, mode, options):
        image = image.convert("RGB").convert(mode) if mode != "RGBA" else image
        if options.get("save_all"):
            options = {**options, "append_images": [image.rotate(180)]}
        file = io.BytesIO()
        image.save(file, self.format, **options)
        return file.getvalue()

    def case(self, random):
        data = damage(random, random.choice(self.seeds), self.seeds)
        return random.choice(("path", "bytes", "bytearray", "file", "stream", "image")), data

    def check(self, case):
        how, data = case
        try:
            image = load_image(self.source(how, data))
        except ImageError as error:
            # The memory of the process is enough for any picture within the limits.
            if isinstance(error.__cause__, MemoryError):
                raise error.__cause__ from None
            raise
        assert image.mode == "RGB"
        assert 0 < image.width * image.height <= MAX_IMAGE_PIXELS
        image.getpixel((image.width - 1, image.height - 1))
        return "read"

    def source(self, how, data):
        if how == "path":
            self.path.write_bytes(data)
            return self.path
        if how == "image":
            try:
                return Image.open(io.BytesIO(data), formats=[self.format])  # not decoded yet
            except Exception:
                how = "bytes"
        kinds = {"bytes": bytes, "bytearray": bytearray, "file": io.BytesIO, "stream": Stream}
        return kinds[how](data)


class Jpeg(Pictures):
    format = "JPEG"
    variants = (
        ("RGB", {"exif": exif(), "icc_profile": bytes(300), "comment": b"x" * 40}),
        ("RGB", {"progressive": True, "subsampling": 0}),
        ("L", {"optimize": True}),
        ("CMYK", {"restart_marker_rows": 1}),
    )


class Mpo(Pictures):
    format = "MPO"
    variants = (("RGB", {"save_all": True, "exif": exif()}), ("L", {"save_all": True}))

    def source(self, how, data):
        return super().source("bytes" if how == "image" else how, data)


class Png(Pictures):
    format = "PNG"
    variants = (
        ("RGBA", {"exif": exif(), "icc_profile": bytes(300), "dpi": (72, 72)}),
        ("P", {"transparency": 3, "bits": 8}),
        ("1", {}),
        ("I;16", {}),
        ("RGB", {"save_all": True}),
    )

    def encode(self, image, mode, options):
        if mode != "I;16":
            return super().encode(image, mode, options)
        wide = np.asarray(image.convert("L"), dtype=np.uint16) * 257
        file = io.BytesIO()
        Image.fromarray(wide).save(file, "PNG")
        return file.getvalue()


class WebP(Pictures):
    format = "WEBP"
    variants = (
        ("RGB", {"exif": exif(), "icc_profile": bytes(300)}),
        ("RGBA", {"lossless": True}),
        ("RGBA", {"save_all": True, "duration": 40}),
    )


class Gif(Pictures):
    format = "GIF"
    variants = (
        ("P", {"comment": b"words" * 80}),
        ("L", {"interlace": 1}),
        ("P", {"save_all": True, "transparency": 1, "disposal": 2}),
    )


class Bmp(Pictures):
    format = "BMP"
    variants = (("RGB", {}), ("RGBA", {}), ("P", {}), ("1", {}))

    def __init__(self, folder):
        super().__init__(folder)
        # Pillow does not write run lengths: 8 x 2 pixels, two runs of 8, an end of line and of all.
        pixels = b"\x08\x01\x00\x00\x08\x02\x00\x01"
        header = struct.pack("<IIIHHIIIIII", 40, 8, 2, 1, 8, 1, len(pixels), 0, 0, 4, 0)
        start = 14 + len(header) + 16
        file = struct.pack("<2sIII", b"BM", start + len(pixels), 0, start)
        self.seeds.append(file + header + bytes(range(16)) + pixels)


class Tiff(Pictures):
    format = "TIFF"
    variants = (
        ("RGB", {"exif": exif()}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("L", {"compression": "tiff_adobe_deflate", "tiffinfo": {278: 4, 274: 8}}),
        ("YCbCr", {"compression": "jpeg"}),
        ("1", {"compression": "group4"}),
        ("RGBA", {"compression": "packbits"}),
        ("I", {"save_all": True}),
        ("F", {"big_tiff": True}),
    )


class Ppm(Pictures):
    format = "PPM"
    variants = (("RGB", {}), ("L", {}), ("1", {}))

    def __init__(self, folder):
        super().__init__(folder)
        text = b" ".join(b"%d" % (n % 256) for n in range(5 * 4 * 3))
        self.seeds += [
            b"P3\n# words\n5 4\n255\n" + text,
            b"P1 3 2 101 011",
            b"P6 3 2 700\n" + bytes(36),
            b"P5 3 2 254\n" + bytes(6),
            b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(12),
        ]


class Avif(Pictures):
    format = "AVIF"
    variants = (
        ("RGB", {"exif": exif(), "speed": 10, "max_threads": 1}),
        ("RGBA", {"speed": 10, "icc_profile": bytes(300), "max_threads": 1}),
        ("RGB", {"save_all": True, "speed": 10, "max_threads": 1}),
    )


@pytest.mark.parametrize("target", [Jpeg, Mpo, Png, WebP, Gif, Bmp, Tiff, Ppm])
def test_damaged_pictures_are_read_or_refused(check, target):
    check(target, CASES)


@pytest.mark.skipif(
    "avif" not in features.get_supported_modules(), reason="this Pillow has no AVIF"
)
def test_damaged_avif_pictures_are_read_or_refused(check):
    check(Avif, CASES)


class Geometry:
    """Sizes of pictures, and the order and positions of their patches."""

    def __init__(self, folder):
        self.preprocessing = Preprocessing()

    def case(self, random):
        few, many = random.randrange(-3, 1500), random.getrandbits(40)
        sides = (0, 1, 2, 13, 27, 28, 29, 999, 1400, few, many)
        low = random.choice((784, 3136, 25_088))
        return random.choice(sides), random.choice(sides), low, low * random.choice((64, 512))

    def check(self, case):
        width, height, low, high = case
        w, h = smart_resize(width, height, min_pixels=low, max_pixels=high)
        assert w % 28 == h % 28 == 0
        assert min(w, h) >= 28
        assert w * h <= high or min(w, h) == 28
        assert w * h >= low
        if max(width, height) > 1500 or w * h > 2_000_000:
            return "large"
        image = load_image(np.full((height, width, 3), 77, np.uint8))
        patches = extract_patches(image, self.preprocessing, min_pixels=low, max_pixels=high)
        grid = patches.grid
        assert grid == Grid(h // 14, w // 14)
        assert patches.pixels.shape == (grid.patches, 3 * 2 * 14 * 14)
        assert np.ptp(patches.pixels, axis=0).max() < 1e-6  # one colour stays one colour
        windows = attention_windows(grid, window_size=112, patch_size=14)
        tokens = np.arange(grid.tokens)
        assert np.array_equal(windows.token_order[windows.token_place], tokens)
        flat = windows.padded.reshape(-1)[windows.unpadded]
        assert np.array_equal(flat, np.arange(grid.patches))
        assert windows.lengths.sum() == grid.patches
        positions = image_positions(5, grid)
        assert positions.min() == 5
        assert positions.max() == 4 + image_advance(grid)
        assert len(np.unique(positions, axis=1).T) == grid.tokens
        assert all(np.isfinite(x).all() for x in vision_rotary(grid, head_dim=16))
        return "sized"


def test_any_size_is_used_or_refused(check):
    check(Geometry, 1_500)
