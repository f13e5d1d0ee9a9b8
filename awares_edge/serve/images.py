"""Pictures of a request: data URLs to bytes, and one or several of them to one picture."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from PIL import Image

from awares_edge.errors import ImageError
from awares_edge.httpd.refusals import Refusal
from awares_edge.schema import shown
from awares_edge.serve.options import ServeOptions
from awares_edge.vision.load import load_image

# RFC 2397, base64 only, with an image's media type.
_DATA_URL = re.compile(r"data:image/[\w.+-]+(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.IGNORECASE)

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ImageData:
    """Encoded pictures of one question, not decoded yet.

    Attributes:
        files: bytes of each, in order; at least one.
        digest: SHA-256 over all of them and their order.
    """

    files: tuple[bytes, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """One picture that shows all pictures of a question.

    Attributes:
        image: RGB.
        cells: where each picture is on it, (left, top, right, bottom) in pixels.
    """

    image: Image.Image
    cells: tuple[Box, ...]


def read_images(urls: Sequence[str], options: ServeOptions) -> ImageData:
    """The bytes of data URLs. Nothing else is ever opened or fetched.

    Raises:
        Refusal: too many, or another kind of URL.
    """
    if len(urls) > options.max_images:
        raise Refusal(
            400,
            f"{len(urls)} pictures in one turn, over {options.max_images}: send fewer",
            code="too_many_images",
            param="messages",
        )
    files = tuple(_from_data_url(url) for url in urls)
    # Each file's own digest first: their lengths then need no separator.
    whole = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in files))
    return ImageData(files, whole.hexdigest())


def _from_data_url(url: str) -> bytes:
    match = _DATA_URL.match(url)
    if match is None:
        message = f"image_url {shown(url, 40)} is not a data URL of a picture"
        if re.match(r"https?:", url, re.IGNORECASE):
            message = "remote pictures are not fetched"
        raise Refusal(
            400,
            f"{message}: send data:image/...;base64,...",
            code="invalid_image_url",
            param="messages",
        )
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise Refusal(
            400,
            "image_url holds no valid base64 data",
            code="invalid_image_url",
            param="messages",
        ) from None


def make_sheet(data: ImageData, max_pixels: int) -> Sheet:
    """Decode the pictures and lay them side by side; a single one stays as it is.

    They keep their sizes, in a grid whose cells are as wide and high as the largest. A sheet over
    `max_pixels` is made smaller as a whole.

    Raises:
        ImageError: one cannot be used, or together they have over `max_pixels` pixels.
    """
    images, left = [], max_pixels
    for number, file in enumerate(data.files, 1):
        try:
            images.append(load_image(file, max_pixels=left))
        except ImageError as error:
            raise ImageError(str(error).replace("the given data", f"image {number}", 1)) from error
        left -= images[-1].width * images[-1].height
    if len(images) == 1:
        return Sheet(images[0], ((0, 0, *images[0].size),))
    return _lay_out(images, max_pixels)


def _lay_out(images: Sequence[Image.Image], max_pixels: int) -> Sheet:
    columns = ceil(sqrt(len(images)))
    rows = ceil(len(images) / columns)
    width, height = max(i.width for i in images), max(i.height for i in images)
    scale = min(1.0, sqrt(max_pixels / (columns * width * rows * height)))
    width, height = max(1, int(width * scale)), max(1, int(height * scale))
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    cells = []
    for index, image in enumerate(images):
        size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        placed = image if scale == 1.0 else image.resize(size, Image.Resampling.BICUBIC)
        row, column = divmod(index, columns)
        left = column * width + (width - placed.width) // 2
        top = row * height + (height - placed.height) // 2
        sheet.paste(placed, (left, top))
        cells.append((left, top, left + placed.width, top + placed.height))
    return Sheet(sheet, tuple(cells))
