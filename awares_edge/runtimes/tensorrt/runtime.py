"""The `tensorrt` runtime: a bundle, its two engines, and sessions over them."""

from __future__ import annotations

from functools import lru_cache
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError, RuntimeUnavailable
from awares_edge.runtimes.base import (
    CallLimits,
    EncodedImage,
    Logits,
    Mark,
    Piece,
    Runtime,
    Session,
)
from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.embedding import Embedding
from awares_edge.runtimes.options import RuntimeOptions, choose_context
from awares_edge.runtimes.tensorrt.device import Cuda
from awares_edge.runtimes.tensorrt.engine import DeviceText, DeviceVision, LoadedEngine
from awares_edge.runtimes.tensorrt.engine_cache import EngineCache, EngineKey
from awares_edge.runtimes.tensorrt.inputs import text_inputs, vision_inputs
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.runtimes.tensorrt.product import TensorRT, load_tensorrt
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches


class TensorrtSession(Session):
    """A KV cache of fixed size. Cells after the last token are masked, so rewinding is free."""

    def __init__(
        self,
        text: DeviceText,
        embedding: Embedding,
        plan: Plan,
        context: int,
        cache: int,
        mark: Mark | None = None,
    ) -> None:
        super().__init__(context, text.vocabulary, mark)
        self.limits = CallLimits(plan.prefill.max, plan.kept)
        self._text = text
        self._embedding = embedding
        self._plan = plan
        self._cache = cache

    def _forward(self, piece: Piece) -> Logits:
        inputs = text_inputs(
            self._embedding.of(piece),
            piece.positions,
            start=piece.start,
            keep=piece.keep,
            cache_length=self._plan.cache_length,
        )
        rows = self._text.append(self._cache, inputs, piece.start)
        return rows[len(rows) - piece.keep :]  # the graph returns at least one

    def _truncate(self, cells: int) -> None:
        pass

    def _fork(self) -> Session:
        cache = self._text.copy_cache(self._cache, self.cells)
        return TensorrtSession(
            self._text, self._embedding, self._plan, self.context, cache, self.mark()
        )

    def _close(self) -> None:
        self._text.free_cache(self._cache)


class TensorrtRuntime(Runtime):
    """A TensorRT bundle and its engines. One thread at a time computes on the GPU."""

    name: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        plan: Plan,
        text: DeviceText,
        vision: DeviceVision,
        *,
        device: str,
        context: int | None = None,
    ) -> None:
        """
        Args:
            text, vision: the bundle's engines, closed with the runtime.
            context: most KV cells of a session; None for the plan's cache length.

        Raises:
            InputError: the context is longer than the engine's cache.
        """
        manifest = bundle.manifest
        self.precision = manifest.precision
        self.device = device
        self.vocabulary = manifest.model.vocabulary
        self.context = choose_context(context, plan.cache_length, manifest.model.context)
        self._plan = plan
        self._embedding = Embedding.open(bundle)
        self._text = text
        self._vision = vision

        @lru_cache(maxsize=16)
        def inputs_of(grid: Grid) -> dict[str, NDArray[Any]]:
            return vision_inputs(grid, manifest.model.vision)

        self._inputs_of = inputs_of

    def encode_image(self, patches: Patches) -> EncodedImage:
        grid, limits = patches.grid, self._plan.patches
        if not limits.min <= grid.patches <= limits.max:
            raise InputError(
                f"a picture of {grid.patches} patches is outside the engine's {limits.min} to "
                f"{limits.max}: keep the bundle's own protocol, or export for a larger target"
            )
        inputs = self._inputs_of(grid)
        if len(inputs["window_index"]) > self._plan.windows:
            raise InputError(
                f"a picture of {grid.rows} x {grid.columns} tokens has more attention windows than "
                f"the engine's {self._plan.windows}: crop it to a less extreme shape"
            )
        features = self._vision.encode({"pixel_values": patches.pixels, **inputs})
        return EncodedImage(features, grid)

    def _open(self, context: int) -> TensorrtSession:
        cache = self._text.new_cache()
        return TensorrtSession(self._text, self._embedding, self._plan, context, cache)

    def close(self) -> None:
        self._text.close()
        self._vision.close()
        self._inputs_of.cache_clear()


def load(bundle: Bundle, options: RuntimeOptions) -> TensorrtRuntime:
    """Load a bundle as the registry does.

    Raises:
        InputError: a number of threads is given; engines do not compute on the CPU.
    """
    if options.threads is not None:
        raise InputError(
            "the tensorrt runtime computes on the GPU: it does not take a number of CPU threads"
        )
    return load_runtime(bundle, device=options.device, context=options.context)


def load_runtime(
    bundle: Bundle,
    *,
    device: str | None = None,
    context: int | None = None,
    engines: Path | None = None,
    trt: TensorRT | None = None,
    cuda: Cuda | None = None,
) -> TensorrtRuntime:
    """Load a bundle's engines.

    Args:
        device: "cuda" or "cuda:N"; None for the first GPU.
        context: most KV cells of a session; None for the engine's cache.
        engines: folder of the engine cache; None for the user's.
        trt, cuda: replace the installed libraries, for tests.

    Raises:
        BundleError: no usable plan or engine.
        InputError: no such device, or a context out of range.
        RuntimeUnavailable: a library or a GPU is missing or not what the bundle is for, or no
            engine has been built for this GPU; the message says what to do.
    """
    chosen = Device.parse(device or "cuda", ("cuda",))
    plan = Plan.read(bundle)
    trt = trt or load_tensorrt(rtx=plan.rtx)
    cuda = cuda or Cuda(chosen.index)
    gpu = cuda.gpu()
    plan.check_device(trt, gpu)
    found = EngineCache(engines).find(EngineKey.of(bundle, plan, trt, gpu))
    if found is None:
        raise RuntimeUnavailable(
            f"no engine for {gpu.name} with {trt.product} {trt.version} and this bundle: run "
            f"awares-edge build-engine {bundle.root}"
        )
    loaded = {}
    for name, path in found.items():
        profiles = 2 if name == "text" and plan.decode_profile else 1
        # Mapped, not read: where CPU and GPU share memory there may be no room for a copy.
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as blob:
            loaded[name] = LoadedEngine(trt, blob, cuda, name=name, profiles=profiles)
    text = DeviceText(loaded["text"], cuda, plan)
    vision = DeviceVision(loaded["vision"], cuda)
    return TensorrtRuntime(bundle, plan, text, vision, device=str(chosen), context=context)
