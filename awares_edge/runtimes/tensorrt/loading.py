"""From a bundle and its built engines to a runtime on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path

from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError, RuntimeUnavailable
from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.options import RuntimeOptions
from awares_edge.runtimes.tensorrt.api import TensorRT, check_version, load_tensorrt
from awares_edge.runtimes.tensorrt.cuda import Cuda
from awares_edge.runtimes.tensorrt.engine import Engine
from awares_edge.runtimes.tensorrt.engines import EngineCache, EngineKey
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.runtimes.tensorrt.runtime import TensorrtRuntime
from awares_edge.runtimes.tensorrt.text import DeviceText
from awares_edge.runtimes.tensorrt.visual import DeviceVision


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
        engines: folder of built engines; None for the user's cache.
        trt, cuda: in place of the installed libraries, for tests.

    Raises:
        BundleError: no usable plan or engine.
        InputError: no such device, or a context out of range.
        RuntimeUnavailable: a library or a GPU is missing or of another version, or no engine has
            been built for this device; the message says what to do.
    """
    plan = Plan.read(bundle)
    index = device_index(device)
    trt = trt or load_tensorrt(rtx=plan.rtx)
    check_version(trt.version, plan.tensorrt, product=trt.product)
    cuda = cuda or Cuda(index)
    gpu = cuda.gpu()
    check_capability(plan, gpu.capability, gpu.name)
    key = EngineKey.of(bundle, plan, trt.product, trt.version, gpu.capability)
    found = EngineCache(engines).find(key)
    if found is None:
        raise RuntimeUnavailable(
            f"no engine for {gpu.name} with {trt.product} {trt.version} and this bundle: run "
            f"awares-edge build-engine {bundle.root}"
        )
    profiles = {"text": 2 if plan.decode_profile else 1, "vision": 1}
    loaded = {}
    for name, path in found.items():
        # Mapped, not read: where CPU and GPU share memory a copy of the engine is too much.
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as blob:
            loaded[name] = Engine(trt, blob, cuda, name=name, profiles=profiles[name])
    text = DeviceText(loaded["text"], cuda, plan)
    vision = DeviceVision(loaded["vision"], cuda)
    return TensorrtRuntime(bundle, plan, text, vision, device=f"cuda:{index}", context=context)


def load(bundle: Bundle, options: RuntimeOptions) -> TensorrtRuntime:
    """Load a bundle as the registry does.

    Raises:
        InputError: a number of threads was asked for, which a GPU does not have.
    """
    if options.threads is not None:
        raise InputError("the tensorrt runtime computes on a GPU: leave the number of threads out")
    return load_runtime(bundle, device=options.device, context=options.context)


def device_index(device: str | None) -> int:
    """
    Raises:
        InputError: no such device.
    """
    return Device.parse(device or "cuda", ("cuda",)).index


def check_capability(plan: Plan, capability: int, name: str) -> None:
    """
    Raises:
        RuntimeUnavailable: the bundle is for another GPU.
    """
    if capability not in plan.capabilities:
        wanted = " or ".join(f"{sm // 10}.{sm % 10}" for sm in plan.capabilities)
        raise RuntimeUnavailable(
            f"this bundle is for {plan.target} (SM {wanted}), {name} has SM {capability // 10}."
            f"{capability % 10}: export the checkpoint with another --target"
        )


def usable_devices() -> Sequence[str]:
    """GPUs that are usable here."""
    try:
        return [f"cuda:{Cuda().index}"]
    except RuntimeUnavailable:
        return []
