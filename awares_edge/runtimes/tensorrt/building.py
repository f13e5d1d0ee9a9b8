"""`build_engines`: carry out a bundle's plan and keep what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awares_edge.bundle.store import Bundle
from awares_edge.errors import ExportError
from awares_edge.runtimes.tensorrt.api import TensorRT, check_version, load_tensorrt
from awares_edge.runtimes.tensorrt.build import BuildLog, BuildRequest, Progress, build_engine
from awares_edge.runtimes.tensorrt.cuda import Cuda
from awares_edge.runtimes.tensorrt.engines import GRAPHS, EngineCache, EngineKey
from awares_edge.runtimes.tensorrt.loading import check_capability
from awares_edge.runtimes.tensorrt.plan import Plan, Shapes


@dataclass(frozen=True, slots=True)
class Built:
    """What `build_engines` made or found.

    Attributes:
        folder: where the engines lie.
        sizes: bytes by graph.
        fresh: whether they were built now.
        warnings: lines that TensorRT said.
    """

    key: EngineKey
    folder: Path
    sizes: dict[str, int]
    fresh: bool
    warnings: tuple[str, ...] = ()


def build_engines(
    bundle: Bundle,
    *,
    engines: Path | None = None,
    ahead_for: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    trt: TensorRT | None = None,
    cuda: Cuda | None = None,
) -> Built:
    """Build a bundle's engines, unless they are there already.

    Args:
        engines: folder to keep them in; None for the user's cache.
        ahead_for: compute capability to build for without a GPU (TensorRT-RTX alone), as 86.
        force: build again what is there.
        progress: told (what, done, total) as the build goes on.
        trt, cuda: in place of the installed libraries, for tests.

    Raises:
        BundleError: no usable plan.
        ExportError: TensorRT refuses a graph.
        RuntimeUnavailable: a library or the GPU is missing, or not what the bundle is for.
    """
    plan = Plan.read(bundle)
    trt = trt or load_tensorrt(rtx=plan.rtx)
    check_version(trt.version, plan.tensorrt, product=trt.product)
    if ahead_for is not None and not plan.rtx:
        raise ExportError(
            "only TensorRT-RTX builds ahead of time: run build-engine on the device, without "
            "--ahead-for"
        )
    if ahead_for is None:
        gpu = (cuda or Cuda()).gpu()
        capability, name = gpu.capability, gpu.name
    else:
        capability, name = ahead_for, "the GPU to build for"
    check_capability(plan, capability, name)
    key = EngineKey.of(bundle, plan, trt.product, trt.version, capability)
    cache = EngineCache(engines)
    if not force and (found := cache.find(key)):
        sizes = {name: path.stat().st_size for name, path in found.items()}
        return Built(key, cache.folder / key.name, sizes, fresh=False)
    log = BuildLog()

    def engines_one_by_one() -> Iterator[tuple[str, Any]]:
        for graph in GRAPHS:
            request = BuildRequest(
                graph, bundle.path(f"{graph}.onnx"), profiles(bundle, plan, graph), ahead_for
            )
            timings, told = cache.timing_cache(key), _named(graph, progress)
            yield graph, build_engine(trt, request, timing_cache=timings, progress=told, log=log)

    folder = cache.store(key, engines_one_by_one())
    sizes = {graph: (folder / f"{graph}.engine").stat().st_size for graph in GRAPHS}
    return Built(key, folder, sizes, fresh=True, warnings=tuple(log.warnings))


def profiles(bundle: Bundle, plan: Plan, graph: str) -> list[dict[str, Shapes]]:
    """Optimization profiles of one of the bundle's graphs."""
    if graph == "text":
        return plan.text_profiles()
    v = bundle.manifest.model.vision
    pixels = v.in_channels * v.temporal_patch_size * v.patch_size**2
    side = v.window_size // v.merge_size // v.patch_size * v.merge_size
    return [plan.vision_profile(pixels, v.hidden_size // v.heads // 2, side * side)]


def _named(graph: str, progress: Progress | None) -> Progress | None:
    if progress is None:
        return None
    return lambda what, done, total: progress(f"{graph}: {what}", done, total)
