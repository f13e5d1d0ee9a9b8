"""Untrusted pictures in, bounded RGB out."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from awares_edge.errors import ImageError
from awares_edge.vision.geometry import MAX_ASPECT_RATIO

ImageSource: TypeAlias = "str | Path | bytes | BinaryIO | Image.Image | NDArray[np.uint8]"

MAX_IMAGE_PIXELS = 120_000_000
"""Most pixels a picture may have: checked from its header, before any is decoded."""


def load_image(source: ImageSource) -> Image.Image:
    """Read a picture as people see it: upright, 8-bit RGB, transparency on white, first frame.

    Args:
        source: a path, encoded bytes, an open binary file, a Pillow image (left unchanged), or a
            uint8 array [height, width, 3] in RGB order (or [height, width] grey).

    Raises:
        ImageError: it does not exist, is not a picture, is truncated, has no area, has over
            `MAX_IMAGE_PIXELS` pixels, or one side is over 200 times the other.
    """
    if isinstance(source, Image.Image):
        return _normalise(source, "the given image")
    if isinstance(source, np.ndarray):
        return _normalise(_from_array(source), "the given array")
    name = str(source) if isinstance(source, (str, Path)) else "the given data"
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if isinstance(file, (str, Path)):
            _check_file(Path(file))
        with warnings.catch_warnings():
            # Our own bound below replaces Pillow's warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                return _normalise(opened, name)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is larger than {MAX_IMAGE_PIXELS:,} pixels: scale it down first"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory: scale it down first") from error
    except PermissionError as error:
        raise ImageError(f"{name} cannot be read: permission denied") from error
    # A damaged file raises whatever its decoder happens to: all of it means the same to the user.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, ZeroDivisionError) as error:
        raise ImageError(f"{name} is truncated or damaged: {_first_line(error)}") from error


def _check_file(path: Path) -> None:
    if not path.exists():
        raise ImageError(f"no such image: {path}")
    if path.is_dir():
        raise ImageError(f"{path} is a folder: give one picture")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty: give a picture")


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    shape = "x".join(map(str, array.shape))
    if array.dtype != np.uint8:
        raise ImageError(f"an image array must be uint8, not {array.dtype}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(f"an image array must be [height, width, 3], not {shape}")
    if 0 in array.shape:
        raise ImageError(f"an image array of {shape} has no area")
    return Image.fromarray(array)


def _normalise(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width <= 0 or height <= 0:
        raise ImageError(f"{name} has no area: give another picture")
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageError(
            f"{name} has {width}x{height} pixels, over {MAX_IMAGE_PIXELS:,}: scale it down first"
        )
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise ImageError(
            f"{name} has {width}x{height} pixels, over {MAX_ASPECT_RATIO} times longer than wide: "
            "crop it first"
        )
    image.load()
    return _to_rgb(ImageOps.exif_transpose(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        return _from_integers(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit by scale: Pillow's own conversion clips everything above 255."""
    values = np.asarray(image).astype(np.float64)
    if values.max(initial=0) > 255 or image.mode != "I":
        values = values / 257.0
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
