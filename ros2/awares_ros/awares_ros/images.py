"""Pictures of sensor_msgs as RGB arrays; knows nothing of ROS.

Messages are untrusted: sizes are checked against the data before anything is read. Encodings and
fields are those of sensor_msgs/Image and sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ImageError

Pixels: TypeAlias = NDArray[np.uint8]


class ImageFields(Protocol):
    """What is read of a sensor_msgs/Image; `data` is anything with the buffer protocol."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the red, green and blue sample of a pixel are, among how many, of how many bytes."""

    order: tuple[int, int, int]
    channels: int
    bytes: int = 1


_LAYOUTS = {
    "rgb8": _Layout((0, 1, 2), 3),
    "bgr8": _Layout((2, 1, 0), 3),
    "rgba8": _Layout((0, 1, 2), 4),
    "bgra8": _Layout((2, 1, 0), 4),
    "mono8": _Layout((0, 0, 0), 1),
    "rgb16": _Layout((0, 1, 2), 3, 2),
    "bgr16": _Layout((2, 1, 0), 3, 2),
    "rgba16": _Layout((0, 1, 2), 4, 2),
    "bgra16": _Layout((2, 1, 0), 4, 2),
    "mono16": _Layout((0, 0, 0), 1, 2),
}
# Where the first luma byte is among the four bytes of two pixels; chroma takes the other places.
# "yuv422" and "yuv422_yuy2" are the older names of "uyvy" and "yuyv".
_LUMA = {"uyvy": 1, "yuv422": 1, "yuyv": 0, "yuv422_yuy2": 0}

ENCODINGS = (*_LAYOUTS, *_LUMA)


def to_rgb(message: ImageFields, max_pixels: int) -> Pixels:
    """A picture as a new uint8 array [height, width, 3] in RGB order.

    Of 16-bit samples the upper byte is taken, alpha is ignored, and YUV is read as ITU-R BT.601
    of limited range, as image_transport and OpenCV do.

    Args:
        message: a sensor_msgs/Image, or anything with its fields.
        max_pixels: most pixels that it may have.

    Raises:
        ImageError: the encoding is not one of `ENCODINGS`, or size, step and data do not agree.
    """
    encoding = message.encoding
    if encoding in _LAYOUTS:
        layout = _LAYOUTS[encoding]
        rows = _rows(message, layout.channels * layout.bytes, max_pixels)
        return _samples(rows, message, layout)
    if encoding in _LUMA:
        if message.width % 2:
            raise ImageError(f"a picture in {encoding} must have an even width")
        return _from_yuv422(_rows(message, 2, max_pixels), _LUMA[encoding])
    raise ImageError(
        f"pictures in encoding {encoding[:40]!r} cannot be read: convert them to one of "
        f"{', '.join(ENCODINGS)} (Bayer: image_proc)"
    )


def compressed_bytes(message: Any) -> bytes:
    """The file in a sensor_msgs/CompressedImage, to be decoded by `Model.open` within its limits.

    Raises:
        ImageError: it holds a depth picture.
    """
    # image_transport writes "jpeg" or "bgr8; jpeg compressed bgr8", and for depth pictures
    # "16UC1; compressedDepth", whose data begin with a header of their own.
    if "compressedDepth" in message.format:
        raise ImageError("a depth picture cannot be read: use the topic of the colour picture")
    return bytes(message.data)


def _rows(message: ImageFields, pixel_bytes: int, max_pixels: int) -> Pixels:
    """The bytes of the pixels, without the padding of each row: uint8 [height, width * bytes]."""
    height, width, step = message.height, message.width, message.step
    if height < 1 or width < 1:
        raise ImageError(f"a picture of {width} x {height} pixels has no area")
    if height * width > max_pixels:
        raise ImageError(f"a picture of {width} x {height} pixels is over {max_pixels} pixels")
    if step < width * pixel_bytes:
        raise ImageError(f"a step of {step} bytes is too short for {width} pixels")
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * height:
        raise ImageError(
            f"{data.size} bytes are too few for {height} rows of {step}: the picture is truncated"
        )
    return data[: step * height].reshape(height, step)[:, : width * pixel_bytes]


def _samples(rows: Pixels, message: ImageFields, layout: _Layout) -> Pixels:
    shape = (message.height, message.width, layout.channels, layout.bytes)
    # The upper byte comes first only where the sender is big-endian.
    upper = 0 if message.is_bigendian else layout.bytes - 1
    samples = np.ascontiguousarray(rows).reshape(shape)[..., upper]
    return np.ascontiguousarray(samples[..., list(layout.order)])


def _from_yuv422(rows: Pixels, luma: int) -> Pixels:
    """Two pixels of four bytes share one pair of chroma samples, U before V."""
    height, width = rows.shape[0], rows.shape[1] // 2
    pairs = np.ascontiguousarray(rows).reshape(height, width // 2, 4).astype(np.float32)
    # Below black there is nothing: OpenCV reads such luma as black too.
    y = np.maximum(pairs[..., [luma, luma + 2]].reshape(height, width) - 16, 0) * (255 / 219)
    u, v = (np.repeat(pairs[..., 1 - luma + place] - 128, 2, axis=1) for place in (0, 2))
    # ITU-R BT.601, table 3: chroma of range 224, luma of range 219.
    red = y + v * (1.402 * 255 / 224)
    green = y - u * (0.344136 * 255 / 224) - v * (0.714136 * 255 / 224)
    blue = y + u * (1.772 * 255 / 224)
    rgb = np.stack([red, green, blue], axis=-1)
    pixels: Pixels = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return pixels
