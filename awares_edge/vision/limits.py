"""Limits on what a picture's header may ask for, checked before any pixel is decoded."""

from __future__ import annotations

import io
import struct

from PIL import Image, ImageFile

from awares_edge.errors import ImageError
from awares_edge.vision.geometry import MAX_ASPECT_RATIO
from awares_edge.vision.source import MeteredFile

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
"""Names in Pillow of the formats that are read: raster formats that Pillow decodes in its own
process and recognises by their first bytes. Left out: formats that start other programs (EPS),
that need handlers of the platform or the application (WMF, BUFR, GRIB, HDF5, ...), and rare ones
whose decoders are little tested."""
FORMAT_NAMES = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF"
MAX_IMAGE_PIXELS = 120_000_000
"""Most pixels a picture may have: checked from its header, before any is decoded."""
MAX_SLOW_PIXELS = 2_000_000
"""Most pixels where Pillow decodes in Python: PPM as text, or with an unusual maximum."""
MAX_SCAN_PIXELS = 4_000_000_000
"""Most pixels times scans of a progressive JPEG: each scan visits every pixel again."""
MAX_PROFILES = 4
"""Most colour profiles of a PNG: the format allows one, and each is unpacked when it is met."""


def check_size(image: Image.Image, name: str, max_pixels: int = MAX_IMAGE_PIXELS) -> None:
    """Refuse a picture without area, with too many pixels, or with too extreme an aspect ratio."""
    width, height = image.size
    if width <= 0 or height <= 0:
        raise ImageError(f"{name} has no area: give another picture")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} pixels, over {max_pixels:,}: scale it down first"
        )
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise ImageError(
            f"{name} has {width}x{height} pixels, over {MAX_ASPECT_RATIO} times longer than wide: "
            "crop it first"
        )


def check_decoder(image: Image.Image, name: str) -> None:
    """Refuse pictures that another program would decode, or that would take minutes."""
    if not isinstance(image, ImageFile.ImageFile):
        return
    tiles = getattr(image, "tile", [])
    undecoded = bool(tiles) or isinstance(image, ImageFile.StubImageFile)
    if undecoded and image.format not in (*FORMATS, "MPO"):
        raise ImageError(f"{name} is {image.format}, not {FORMAT_NAMES}: convert it first")
    area = image.width * image.height
    if area > MAX_SLOW_PIXELS and any(tile[0].startswith("ppm") for tile in tiles):
        raise ImageError(
            f"{name} is a PPM as text or with an unusual maximum, over {MAX_SLOW_PIXELS:,} pixels: "
            "convert it to PNG"
        )
    tags = getattr(image, "tag_v2", {})
    if tags.get(322, 1) * tags.get(323, 1) > MAX_IMAGE_PIXELS:  # TileWidth, TileLength
        raise ImageError(f"{name} has tiles of over {MAX_IMAGE_PIXELS:,} pixels: save it again")


def check_profiles(file: MeteredFile) -> None:
    """Count a PNG's profiles before Pillow unpacks up to 1 MB for each."""
    found = 0
    if file.read(8) == b"\x89PNG\r\n\x1a\n":
        while len(head := file.read(8)) == 8 and found <= MAX_PROFILES:
            length, kind = struct.unpack(">I4s", head)
            found += kind == b"iCCP"
            file.seek(length + 4, io.SEEK_CUR)
    file.seek(0)
    if found > MAX_PROFILES:
        raise ImageError(f"{file.name} has over {MAX_PROFILES} colour profiles: save it again")


def check_scans(image: Image.Image, file: MeteredFile) -> None:
    """Count a progressive JPEG's scans before libjpeg decodes them all."""
    if "progressive" not in image.info:
        return
    at = file.tell()
    file.seek(0)
    # An upper bound: the marker's bytes may also occur in metadata, never in coded pixels.
    scans = file.read().count(b"\xff\xda")
    file.seek(at)
    if scans * image.width * image.height > MAX_SCAN_PIXELS:
        raise ImageError(f"{file.name} has {scans} scans: save it as a baseline JPEG")
