"""Pictures through llama.cpp's own vision tower (mtmd), or through another runtime's.

mtmd resizes and pads in its own way, which differs from Qwen's. It is therefore handed pictures of
exactly the size it would choose: whole multiples of 28 pixels, as `extract_patches` made them.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import BundleError, SessionError
from awares_edge.runtimes.base import EncodedImage
from awares_edge.runtimes.llamacpp.library import Library
from awares_edge.runtimes.llamacpp.memory import require_vision_memory
from awares_edge.spec import ModelSpec
from awares_edge.vision.patches import Patches, Preprocessing

# mtmd's own limits are off: the protocol profile sets them before. mtmd counts pixels in an int.
_MIN_TOKENS, _MAX_TOKENS, _MAX_PIXELS = 1, 1 << 20, (1 << 31) - 1
_FLASH_OFF, _FLASH_ON = 0, 1
_IMAGE_CHUNK = 1


class VisionEncoder(Protocol):
    """Whatever turns patches into features float32 [tokens, width] in raster order."""

    def encode_image(self, patches: Patches) -> EncodedImage: ...


class MtmdVision:
    """llama.cpp's vision tower. One picture at a time; safe to share between threads."""

    def __init__(
        self,
        lib: Library,
        path: Path,
        model: Any,
        spec: ModelSpec,
        preprocessing: Preprocessing,
        *,
        threads: int,
        gpu: int | None,
        exact: bool,
    ) -> None:
        """
        Args:
            model: llama.cpp's pointer to the text model.
            gpu: ggml's handle of the GPU to compute on; None for the CPU.
            exact: no flash attention, which computes with keys and values in float16.

        Raises:
            BundleError: mtmd cannot use the file.
        """
        self._lib = lib
        self._width = spec.hidden_size
        self._preprocessing = preprocessing
        self._lock = threading.Lock()
        self._heads, self._exact, self._gpu = spec.vision.heads, exact, gpu is not None
        self._held = 0
        params = lib.mtmd.mtmd_context_params_default()
        params.use_gpu, params.device = gpu is not None, gpu
        params.print_timings = False
        params.n_threads = threads
        params.warmup = False
        params.flash_attn_type = _FLASH_OFF if exact else _FLASH_ON
        side = spec.vision.patch_size * spec.vision.merge_size
        params.image_min_tokens = _MIN_TOKENS
        params.image_max_tokens = min(_MAX_TOKENS, _MAX_PIXELS // side**2)
        with lib.listening():
            self._context: Any = lib.mtmd.mtmd_init_from_file(bytes(path), model, params)
            if not self._context:
                raise BundleError(
                    f"llama.cpp cannot load {path.name}{lib.complaint()}: export it again"
                )

    def encode_image(self, patches: Patches) -> EncodedImage:
        """Features float32 [tokens, width] of one picture.

        Raises:
            ImageError: memory is too short for a picture of this size.
            SessionError: the vision tower failed.
        """
        pixels = to_pixels(patches, self._preprocessing)
        with self._lock:
            if not self._context:
                raise SessionError("this model is closed: load it again")
            if not self._gpu:  # on a GPU llama.cpp uses the GPU's memory
                needed = require_vision_memory(
                    patches.grid, self._heads, exact=self._exact, held=self._held
                )
                self._held = max(self._held, needed)
            features = self._encode(pixels, patches.grid.tokens)
        return EncodedImage(features, patches.grid)

    def _encode(self, pixels: NDArray[np.uint8], tokens: int) -> NDArray[np.float32]:
        mtmd = self._lib.mtmd
        height, width, _ = pixels.shape
        data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        bitmap = mtmd.mtmd_bitmap_init(width, height, data)
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            # Only the marker: user text is never given to mtmd.
            marker = mtmd.mtmd_default_marker()
            text = mtmd.mtmd_input_text(marker, len(marker), False, True)
            bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            code = mtmd.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1)
            if code:
                raise SessionError(f"llama.cpp could not prepare the picture (code {code})")
            chunk = self._image_chunk(chunks)
            if int(mtmd.mtmd_input_chunk_get_n_tokens(chunk)) != tokens:
                raise SessionError(f"llama.cpp did not divide the picture into {tokens} tokens")
            if code := mtmd.mtmd_encode_chunk(self._context, chunk):
                raise SessionError(f"llama.cpp could not encode the picture (code {code})")
            out = mtmd.mtmd_get_output_embd(self._context)
            features: NDArray[np.float32] = np.ctypeslib.as_array(out, (tokens, self._width)).copy()
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            mtmd.mtmd_bitmap_free(bitmap)
        return features

    def _image_chunk(self, chunks: Any) -> Any:
        mtmd = self._lib.mtmd
        for i in range(mtmd.mtmd_input_chunks_size(chunks)):
            chunk = mtmd.mtmd_input_chunks_get(chunks, i)
            if mtmd.mtmd_input_chunk_get_type(chunk) == _IMAGE_CHUNK:
                return chunk
        raise SessionError("llama.cpp did not find the picture in its input")

    def __enter__(self) -> MtmdVision:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the tower. Closing twice is allowed."""
        with self._lock:
            if self._context:
                self._lib.mtmd.mtmd_free(self._context)
                self._context = None


def to_pixels(patches: Patches, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: the pixels that `extract_patches` cut up, exactly."""
    p, grid = preprocessing, patches.grid
    s, m = p.patch_size, p.merge_size
    blocks = patches.pixels.reshape(grid.rows, grid.columns, m, m, 3, p.temporal_patch_size, s, s)[
        :, :, :, :, :, 0
    ]
    # [rows, columns, m, m, channel, s, s] -> [rows, m, s, columns, m, s, channel].
    image = blocks.transpose(0, 2, 5, 1, 3, 6, 4).reshape(grid.height * s, grid.width * s, 3)
    std, mean = np.asarray(p.image_std, np.float32), np.asarray(p.image_mean, np.float32)
    return np.ascontiguousarray(np.rint((image * std + mean) * 255).clip(0, 255), dtype=np.uint8)
