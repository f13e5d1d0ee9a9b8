"""A model loaded through llama.cpp: text weights once, contexts as sessions need them."""

from __future__ import annotations

import ctypes
from array import array
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from awares_edge.bundle.store import Bundle
from awares_edge.errors import BundleError
from awares_edge.runtimes.base import EncodedImage, Runtime, SavedSession
from awares_edge.runtimes.llamacpp.devices import Placement, place
from awares_edge.runtimes.llamacpp.files import check_text, check_vision, find_files
from awares_edge.runtimes.llamacpp.library import Library, library
from awares_edge.runtimes.llamacpp.memory import require_memory
from awares_edge.runtimes.llamacpp.pool import Pool, PoolOptions
from awares_edge.runtimes.llamacpp.pools import Pools
from awares_edge.runtimes.llamacpp.session import LlamaSession
from awares_edge.runtimes.llamacpp.vision import MtmdVision, VisionEncoder
from awares_edge.runtimes.options import choose_context
from awares_edge.runtimes.threads import choose_threads
from awares_edge.spec import ModelSpec
from awares_edge.vision.patches import Patches

# KV cells by default: enough for a low-res view, four crops and an answer.
DEFAULT_CONTEXT = 8192
_BATCH = 512
# llama.cpp rounds a context up to this, and aborts with fewer cells than sequences.
_CELLS_STEP = 256
_EXACT = "f32"


class LlamaRuntime(Runtime):
    """llama.cpp on GGUF files.

    Sessions share contexts (`Pool`); another context is made when a session outgrows its own, and
    given back with its last session.

    Attributes:
        pools: the contexts.
    """

    name: ClassVar[str] = "llamacpp"

    def __init__(
        self,
        pools: Pools,
        vision: VisionEncoder,
        *,
        precision: str,
        device: str,
        context: int,
        hidden: int,
        version: str,
        owned: ExitStack,
    ) -> None:
        """
        Args:
            hidden: numbers of a visual token's features.
            version: of llama.cpp.
            owned: freed with this runtime, after its contexts.
        """
        self.precision = precision
        self.device = device
        self.vocabulary = pools.vocabulary
        self.context = context
        self.hidden = hidden
        self.saving = f"llama.cpp {version}"
        self.pools = pools
        self._vision = vision
        self._owned = owned

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        device: str | None = None,
        threads: int | None = None,
        context: int | None = None,
        gpu_layers: int | None = None,
        vision: VisionEncoder | None = None,
    ) -> LlamaRuntime:
        """Load a GGUF bundle.

        Args:
            device: "cpu", "cuda", "cuda:1", "metal", "vulkan", ...; None for the best GPU that
                llama.cpp was built for, else the CPU.
            threads: CPU threads; None for one for each core that this process may use.
            context: most KV cells of a session; None for 8192, or less where the model has less.
            gpu_layers: how many layers go to the GPU; None for what `LLAMA_ARG_N_GPU_LAYERS` says,
                else all.
            vision: encodes pictures instead of the bundle's mmproj file: another runtime of the
                same model, such as a loaded `OnnxRuntime`. It stays the caller's to close.

        Raises:
            BundleError: the GGUF files are damaged, or of another model.
            InputError: a number out of range, or no device name.
            RuntimeUnavailable: llama.cpp is missing, has no such device, or memory is short.
        """
        threads = choose_threads(threads)
        lib = library()
        where = place(lib, device, gpu_layers)
        manifest = bundle.manifest
        spec, precision = manifest.model, manifest.precision
        text, mmproj = find_files(bundle)
        check_text(text, spec)
        if vision is None:
            check_vision(mmproj, spec)
        size = choose_context(context, spec.context, DEFAULT_CONTEXT)
        exact = precision == _EXACT
        require_memory(spec, size, exact=exact, gpu=where.gpu)  # before the weights are read
        with ExitStack() as owned:
            model = _load_weights(lib, text, where)
            owned.callback(lib.llama.llama_model_free, model)
            tower = (lib, mmproj, model, spec, manifest.preprocessing)
            encoder = vision or owned.enter_context(
                MtmdVision(*tower, threads=threads, gpu=where.handle, exact=exact)
            )
            cells = -(-size // _CELLS_STEP) * _CELLS_STEP
            batch = min(_BATCH, cells)
            options = PoolOptions(cells, batch, threads, exact, where.gpu)
            make = partial(_make_pool, lib, model, spec, options)
            return cls(
                Pools(make, batch=batch, vocabulary=spec.vocabulary),
                encoder,
                precision=precision,
                device=str(where.device),
                context=size,
                hidden=spec.hidden_size,
                version=lib.version,
                owned=owned.pop_all(),
            )

    def encode_image(self, patches: Patches) -> EncodedImage:
        return self._vision.encode_image(patches)

    def _open(self, context: int) -> LlamaSession:
        return LlamaSession(self.pools, self.pools.acquire(0), context)

    def _restore(self, saved: SavedSession, context: int) -> LlamaSession:
        cells = saved.mark.cells
        times = saved.array("times", np.int32, (cells,))
        state = saved.array("state", np.uint8, (-1,))
        home = self.pools.place(state, cells)
        return LlamaSession(self.pools, home, context, saved.mark, array("i", times.tolist()))

    def close(self) -> None:
        self.pools.close()
        self._owned.close()


def _load_weights(lib: Library, path: Path, where: Placement) -> Any:
    params = lib.llama.llama_model_default_params()
    params.n_gpu_layers = where.layers
    devices = where.handles()
    params.devices = ctypes.cast(devices, ctypes.c_void_p)
    with lib.listening():
        model = lib.llama.llama_model_load_from_file(bytes(path), params)
        if not model:
            raise BundleError(f"llama.cpp cannot load {path.name}{lib.complaint()}")
    return model


def _make_pool(lib: Library, model: Any, spec: ModelSpec, options: PoolOptions) -> Pool:
    require_memory(spec, options.cells, exact=options.full_cache, gpu=options.offload)
    return Pool(lib, model, spec.vocabulary, spec.hidden_size, options)
