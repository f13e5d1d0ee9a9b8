"""A model loaded through llama.cpp: text weights once, contexts as sessions need them."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from awares_edge.bundle.store import Bundle
from awares_edge.errors import BundleError, ContextOverflow, InputError, SessionError
from awares_edge.runtimes.base import Capabilities, EncodedImage, Runtime
from awares_edge.runtimes.llamacpp.devices import read_device
from awares_edge.runtimes.llamacpp.files import check_text, check_vision, find_files
from awares_edge.runtimes.llamacpp.library import Library, library
from awares_edge.runtimes.llamacpp.memory import require_memory
from awares_edge.runtimes.llamacpp.pool import NoSlot, Pool, PoolOptions
from awares_edge.runtimes.llamacpp.session import LlamaSession, SavedState
from awares_edge.runtimes.llamacpp.vision import MtmdVision, VisionEncoder
from awares_edge.runtimes.threads import check_threads, cores
from awares_edge.vision.patches import Patches

# KV cells where nothing is asked for: a low-res view, four crops and an answer.
DEFAULT_CONTEXT = 8192
_BATCH = 512
_CELLS_STEP = 256
_EXACT = "f32"


class LlamaRuntime(Runtime):
    """llama.cpp on GGUF files.

    Sessions share contexts (`Pool`); another context is made when a session outgrows its own, and
    given back with its last session.

    Attributes:
        batch: most tokens computed at once.
    """

    name: ClassVar[str] = "llamacpp"
    # Safe from several threads, which take turns: a context computes one batch at a time.
    capabilities: ClassVar[Capabilities] = Capabilities(concurrent=False)

    def __init__(
        self,
        lib: Library,
        model: Any,
        vision: VisionEncoder,
        *,
        precision: str,
        device: str,
        vocabulary: int,
        width: int,
        context: int,
        threads: int,
        offload: bool,
        require_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.precision = precision
        self.device = device
        self.vocabulary = vocabulary
        self.context = context
        # llama.cpp rounds a context up to this, and aborts with fewer cells than sequences.
        cells = -(-context // _CELLS_STEP) * _CELLS_STEP
        self.batch = min(_BATCH, cells)
        self._lib = lib
        self._model = model
        self._vision = vision
        self._width = width
        self._options = PoolOptions(cells, self.batch, threads, precision == _EXACT, offload)
        self._require_room = require_room
        self._lock = threading.Lock()
        # The first pool is made at once, so that a lack of memory shows when the model is loaded.
        self._pools = [self._make_pool()]

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        device: str = "cpu",
        threads: int | None = None,
        context: int | None = None,
        vision: VisionEncoder | None = None,
    ) -> LlamaRuntime:
        """Load a bundle that was exported with `--format gguf`.

        Args:
            device: "cpu"; "gpu" for all layers, "gpu:N" for N of them.
            threads: CPU threads; None for one a core.
            context: most KV cells of a session; None for 8192, or less where the model has less.
            vision: encodes pictures in place of the bundle's mmproj file: another runtime of the
                same model, such as a loaded `OnnxRuntime`. It stays the caller's to close.

        Raises:
            BundleError: the GGUF files are damaged, or of another model.
            InputError: a context or threads out of range, or no device name.
            RuntimeUnavailable: llama.cpp is missing, has no such device, or memory is short.
        """
        check_threads(threads)
        lib = library()
        layers = read_device(lib, device)
        spec = bundle.manifest.model
        text, mmproj = find_files(bundle)
        check_text(text, spec)
        if vision is None:
            check_vision(mmproj, spec)
        if context is not None and not 1 <= context <= spec.context:
            raise InputError(
                f"a context of {context} is not within 1 and the model's {spec.context}"
            )
        size = context or min(DEFAULT_CONTEXT, spec.context)
        exact = bundle.manifest.precision == _EXACT

        def require_room() -> None:
            require_memory(spec, size, exact=exact, gpu=layers > 0)

        require_room()  # before the weights are read
        threads = threads or cores()

        params = lib.llama.llama_model_default_params()
        params.n_gpu_layers = layers
        with lib.listening():
            model = lib.llama.llama_model_load_from_file(bytes(text), params)
            if not model:
                raise BundleError(f"llama.cpp cannot load {text.name}{lib.complaint()}")
        encoder: VisionEncoder | None = None
        try:
            encoder = vision or MtmdVision(
                lib,
                mmproj,
                model,
                spec.hidden_size,
                bundle.manifest.preprocessing,
                heads=spec.vision.heads,
                threads=threads,
                gpu=layers > 0,
                exact=exact,
            )
            return cls(
                lib,
                model,
                encoder,
                precision=bundle.manifest.precision,
                device=device,
                vocabulary=spec.vocabulary,
                width=spec.hidden_size,
                context=size,
                threads=threads,
                offload=layers > 0,
                require_room=require_room,
            )
        except BaseException:
            if isinstance(encoder, MtmdVision):
                encoder.close()
            lib.llama.llama_model_free(model)
            raise

    def encode_image(self, patches: Patches) -> EncodedImage:
        return self._vision.encode_image(patches)

    def open_session(self, context: int | None = None) -> LlamaSession:
        size = self._context(context)
        pool, sequence = self.acquire(0)
        return LlamaSession(self, pool, sequence, size)

    def restore(self, state: SavedState, context: int | None = None) -> LlamaSession:
        """A session that goes on from a saved one.

        Raises:
            ContextOverflow: it does not fit.
        """
        size = self._context(context)
        if state.mark.cells > size:
            raise ContextOverflow(
                f"a saved session of {state.mark.cells} tokens exceeds the context of {size}: use "
                "a larger one"
            )
        pool, sequence = self.place(state.cells if state.times else None, state.mark.cells)
        return LlamaSession(self, pool, sequence, size, state.mark, array("i", state.times))

    def _context(self, context: int | None) -> int:
        if context is not None and not 1 <= context <= self.context:
            raise InputError(f"a context of {context} is not within 1 and {self.context}")
        return context or self.context

    def acquire(self, cells: int, *, avoid: Pool | None = None) -> tuple[Pool, int]:
        """An empty sequence in a pool with room for `cells`; a new pool where there is none."""
        with self._lock:
            for pool in self._pools:
                if pool is avoid or pool.used + cells > pool.cells:
                    continue
                sequence = pool.acquire()
                if sequence is not None:
                    return pool, sequence
            pool = self._make_pool()
            self._pools.append(pool)
            sequence = pool.acquire()
            assert sequence is not None
            return pool, sequence

    def place(
        self, state: NDArray[np.uint8] | None, cells: int, *, avoid: Pool | None = None
    ) -> tuple[Pool, int]:
        """A sequence that holds a saved one, in a pool with room for `cells`.

        Raises:
            ContextOverflow: llama.cpp finds no room for it.
        """
        pool, sequence = self.acquire(cells, avoid=avoid)
        try:
            if state is not None:
                pool.restore(sequence, state)
        except NoSlot:
            self.release(pool, sequence, 0)
            raise ContextOverflow(
                "llama.cpp has no room for a copy of the cache: close pictures that are done, or "
                "use a larger --context"
            ) from None
        return pool, sequence

    def release(self, pool: Pool, sequence: int, cells: int) -> None:
        """Take a sequence of `cells` cells back; an empty extra pool is given back too."""
        with self._lock:
            if pool not in self._pools:
                return
            pool.release(sequence)
            pool.count(-cells)
            if not pool.sessions and pool is not self._pools[0]:
                self._pools.remove(pool)
                pool.close()

    def _make_pool(self) -> Pool:
        if not self._model:
            raise SessionError("this model is closed: load it again")
        self._require_room()
        return Pool(self._lib, self._model, self.vocabulary, self._width, self._options)

    def close(self) -> None:
        with self._lock:
            for pool in self._pools:
                pool.close()
            self._pools.clear()
            if isinstance(self._vision, MtmdVision):
                self._vision.close()
            if self._model:
                self._lib.llama.llama_model_free(self._model)
                self._model = None
