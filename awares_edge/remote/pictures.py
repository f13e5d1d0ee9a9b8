"""Pictures as data URLs, at the very size that the vision tower takes.

A server resizes a picture whose sides are not whole visual tokens, each server in its own way.
These are resized here, as transformers does it, so that every server sees the same pixels.
"""

from __future__ import annotations

import base64
import io
from typing import Literal, TypeAlias

from PIL import Image

PictureFormat: TypeAlias = Literal["png", "jpeg"]
"""How pictures travel: "png" unchanged; "jpeg" smaller, with other pixels (quality 95)."""

FACTOR = 28
"""Pixels per visual token along each side, of every Qwen2.5-VL model."""


def data_url(image: Image.Image, kind: PictureFormat) -> str:
    """An RGB picture as a data URL (RFC 2397)."""
    out = io.BytesIO()
    if kind == "png":
        # The lowest level: over a local network, more takes longer than it saves.
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, "JPEG", quality=95, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
