"""Untrusted pictures in, bounded RGB out."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from awares_edge.errors import ImageError
from awares_edge.vision.limits import (
    FORMAT_NAMES,
    FORMATS,
    MAX_IMAGE_PIXELS,
    check_decoder,
    check_profiles,
    check_scans,
    check_size,
)
from awares_edge.vision.source import MeteredFile, open_source

ImageSource: TypeAlias = (
    "str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]"
)

_ORIENTATION = 0x0112  # Exif 2.32, tag "Orientation"
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BAND_PIXELS = 4_000_000


def load_image(source: ImageSource, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Read a picture as a viewer shows it: upright, 8-bit RGB, transparency on white, first frame.

    Files are JPEG (MPO too: its first picture), PNG, WebP, GIF, BMP, TIFF, PPM (and PBM, PGM),
    AVIF where Pillow has it (11.3 on), and HEIF where the application has registered a Pillow
    plugin for it. No other format is opened, for any file name.

    Args:
        source: a path, encoded bytes, an open binary file (left open), a Pillow image (left
            unchanged), or a uint8 array [height, width, 3] in RGB order (or [height, width] grey).
        max_pixels: most pixels it may have, checked before any is decoded.

    Returns:
        a new image of mode RGB without metadata.

    Raises:
        ImageError: it does not exist, is not a regular file, is not in one of these formats, is
            truncated or damaged, has no area, is over 512 MB long, has over `max_pixels`
            pixels or too much metadata, or one side is over 200 times the other.
    """
    name = _name(source)
    try:
        if isinstance(source, Image.Image):
            return _decoded(source, name, max_pixels)
        if isinstance(source, np.ndarray):
            return _decoded(_from_array(source), name, max_pixels)
        with open_source(source, name) as file:
            return _decoded(_opened(file), name, max_pixels, file)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a readable {FORMAT_NAMES} picture") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} has more pixels than Pillow allows: scale it down first"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory: scale it down first") from error
    except PermissionError as error:
        raise ImageError(f"{name} cannot be read: permission denied") from error
    # Damaged data can raise anything in a decoder: KeyError, struct.error, RuntimeError.
    except Exception as error:
        raise ImageError(f"{name} is truncated or damaged: {_first_line(error)}") from error


def _name(source: ImageSource) -> str:
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        return path if path.isprintable() else repr(path)
    if isinstance(source, Image.Image):
        return "the given image"
    return "the given array" if isinstance(source, np.ndarray) else "the given data"


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


@lru_cache(maxsize=1)
def _import_plugins() -> None:
    """Register the formats: Pillow's own `init` would import every plugin that it has."""
    for module in ("Jpeg", "Png", "WebP", "Gif", "Bmp", "Tiff", "Ppm", "Avif"):
        with suppress(ImportError):  # AVIF, before Pillow 11.3
            import_module(f"PIL.{module}ImagePlugin")


def _opened(file: MeteredFile) -> Image.Image:
    _import_plugins()
    check_profiles(file)
    formats = [name for name in FORMATS if name in Image.OPEN]
    # Pillow uses only `read`, `seek` and `tell`.
    return Image.open(cast(BinaryIO, file), formats=formats)


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    shape = "x".join(map(str, array.shape))
    if array.dtype != np.uint8:
        raise ImageError(f"an image array must be uint8, not {array.dtype}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(f"an image array must be [height, width, 3], not {shape}")
    if 0 in array.shape:
        raise ImageError(f"an image array of {shape} has no area")
    return Image.fromarray(array)


def _decoded(
    image: Image.Image, name: str, max_pixels: int, file: MeteredFile | None = None
) -> Image.Image:
    """Check the picture's header, decode it and return its pixels only."""
    check_size(image, name, max_pixels)
    check_decoder(image, name)
    if file is not None:
        check_scans(image, file)
        file.metadata_is_read()
    image.load()
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    rgb = _to_rgb(image if turn is None else image.transpose(turn))
    # A copy releases the decoder and its file, and never shares pixels with the caller's image.
    rgb = rgb.copy() if rgb is image else rgb
    rgb.info = {}  # an orientation left there would turn the picture again
    return rgb


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        wide = image.mode != "I" or image.getextrema()[1] > 255  # type: ignore[operator]
        return _by_bands(image, lambda band: _from_integers(band, 257.0 if wide else 1.0))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _by_bands(image, _on_white)
    return image.convert("RGB")


def _by_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert a band of rows at a time, so that intermediate images stay small."""
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    if rows >= height:
        return convert(image)
    out = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        out.paste(convert(image.crop((0, top, width, bottom))), (0, top))
    return out


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _from_integers(image: Image.Image, divisor: float) -> Image.Image:
    """16-bit grey to 8-bit by scale: Pillow's own conversion clips everything above 255."""
    values = np.asarray(image).astype(np.float64) / divisor
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
