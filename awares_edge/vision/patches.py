"""From a picture to the vision tower's input, bit for bit as transformers' Pillow processor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from awares_edge.vision.geometry import Grid, smart_resize


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a checkpoint's `preprocessor_config.json` fixes about pixels."""

    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    image_mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    @property
    def factor(self) -> int:
        """Pixels per visual token along each side."""
        return self.patch_size * self.merge_size


@dataclass(frozen=True, slots=True)
class Patches:
    """One picture, ready for the vision tower.

    Attributes:
        pixels: float32 [grid.patches, channels * temporal_patch_size * patch_size**2], patches in
            merge-block order as transformers lays them out.
        grid: size in patches.
    """

    pixels: NDArray[np.float32]
    grid: Grid


def resize_picture(
    image: Image.Image, factor: int, *, min_pixels: int, max_pixels: int
) -> Image.Image:
    """A picture at the size that it has as patches (bicubic); itself where it has that size.

    Args:
        factor: pixels per visual token along each side.

    Raises:
        ImageError: the picture's size cannot be used (see `smart_resize`).
    """
    size = smart_resize(
        image.width, image.height, min_pixels=min_pixels, max_pixels=max_pixels, factor=factor
    )
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def extract_patches(
    image: Image.Image, preprocessing: Preprocessing, *, min_pixels: int, max_pixels: int
) -> Patches:
    """Resize (bicubic), normalise and cut an RGB picture into patches.

    Raises:
        ImageError: the picture's size cannot be used (see `smart_resize`).
    """
    p = preprocessing
    image = resize_picture(image, p.factor, min_pixels=min_pixels, max_pixels=max_pixels)
    grid = Grid(image.height // p.patch_size, image.width // p.patch_size, p.merge_size)
    m, side = p.merge_size, p.patch_size
    # Patches of one merged token are adjacent; bytes are reordered, a quarter of the floats.
    pixels = np.asarray(image, dtype=np.uint8).reshape(grid.rows, m, side, grid.columns, m, side, 3)
    blocks = pixels.transpose(0, 3, 1, 4, 6, 2, 5).reshape(grid.patches, 3, side * side)
    out = np.empty((grid.patches, 3, p.temporal_patch_size, side * side), dtype=np.float32)
    table = _normalised(p.image_mean, p.image_std)
    for channel in range(3):
        # A still picture is the same frame at every time.
        out[:, channel] = table[channel][blocks[:, channel]][:, None]
    return Patches(out.reshape(grid.patches, -1), grid)


@lru_cache(maxsize=8)
def _normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """float32 [3, 256]: the normalised value of each 8-bit value of each channel."""
    # float64 scale, then float32 normalisation: the reference's order of rounding.
    scaled = (np.arange(256) * (1 / 255)).astype(np.float32)
    columns = np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32)
    return ((scaled - columns[0][:, None]) / columns[1][:, None]).astype(np.float32, copy=False)
