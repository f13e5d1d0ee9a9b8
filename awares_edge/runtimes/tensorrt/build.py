"""Build a bundle's engines: each ONNX graph becomes a serialized engine in the engine cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from awares_edge.bundle.store import Bundle
from awares_edge.errors import ExportError
from awares_edge.runtimes.tensorrt.device import Cuda, Gpu
from awares_edge.runtimes.tensorrt.engine_cache import GRAPHS, EngineCache, EngineKey
from awares_edge.runtimes.tensorrt.plan import Plan, Shapes
from awares_edge.runtimes.tensorrt.product import Messages, TensorRT, load_tensorrt, make_logger

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""


@dataclass(frozen=True, slots=True)
class Built:
    """What `build_engines` built or found.

    Attributes:
        folder: where the engines are.
        sizes: bytes by graph.
        fresh: whether they were built now.
        warnings: lines that TensorRT logged.
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
    """Build a bundle's engines, unless the cache has them already.

    Args:
        engines: folder of the engine cache; None for the user's.
        ahead_for: compute capability to build for without a GPU, as 86 (TensorRT-RTX only).
        force: build even if the cache has them.
        progress: called as the build goes on.
        trt, cuda: replace the installed libraries, for tests.

    Raises:
        BundleError: the bundle has no usable plan.
        ExportError: TensorRT refuses a graph.
        RuntimeUnavailable: a library or the GPU is missing, or not what the bundle is for.
    """
    plan = Plan.read(bundle)
    if ahead_for is not None and not plan.rtx:
        raise ExportError("only TensorRT-RTX builds ahead of time: build on the device itself")
    trt = trt or load_tensorrt(rtx=plan.rtx)
    gpu = (cuda or Cuda()).gpu() if ahead_for is None else Gpu("the GPU to build for", ahead_for)
    plan.check_device(trt, gpu)
    key = EngineKey.of(bundle, plan, trt, gpu)
    cache = EngineCache(engines)
    messages = Messages()
    fresh = force or cache.find(key) is None
    if fresh:
        cache.store(key, _serialized(trt, bundle, plan, ahead_for, messages, progress))
    folder = cache.folder / key.name
    sizes = {graph: (folder / f"{graph}.engine").stat().st_size for graph in GRAPHS}
    return Built(key, folder, sizes, fresh, tuple(messages.warnings))


def _serialized(
    trt: TensorRT,
    bundle: Bundle,
    plan: Plan,
    ahead_for: int | None,
    messages: Messages,
    progress: Progress | None,
) -> Iterator[tuple[str, Any]]:
    """(graph, engine) of each graph in turn."""
    for graph in GRAPHS:
        if graph == "text":
            profiles = plan.text_profiles()
        else:
            profiles = [plan.vision_profile(bundle.manifest.model.vision)]
        yield (
            graph,
            build_graph(
                trt,
                bundle.path(f"{graph}.onnx"),
                profiles,
                capability=ahead_for,
                messages=messages,
                progress=progress,
            ),
        )


def build_graph(
    trt: TensorRT,
    path: Path,
    profiles: Sequence[dict[str, Shapes]],
    *,
    capability: int | None = None,
    messages: Messages | None = None,
    progress: Progress | None = None,
) -> Any:
    """Build the engine of one ONNX graph.

    Args:
        path: the ONNX file; its weights are in the same folder.
        profiles: shapes of the dynamic inputs, one dict an optimization profile.
        capability: SM to build for ahead of time, as 86 (TensorRT-RTX only); None for this GPU.
        messages: collects what TensorRT logs.
        progress: called as the build goes on.

    Returns:
        the serialized engine, a buffer that TensorRT owns.

    Raises:
        ExportError: TensorRT refuses the graph or the shapes; its first message is quoted.
    """
    messages = Messages() if messages is None else messages
    module, name, product = trt.module, path.stem, f"{trt.product} {trt.version}"
    logger = make_logger(module, messages)
    builder = module.Builder(logger)
    network = builder.create_network(_network_flags(module))
    parser = module.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        said = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        reason = next((" ".join(line.split()) for line in said if line), messages.reason())
        raise ExportError(f"{product} refuses {name}: {reason}")
    _refuse_ignored_inputs(messages, product, name)
    config = builder.create_builder_config()
    for shapes in profiles:
        config.add_optimization_profile(_profile(builder, network, shapes))
    if capability is not None:
        _set_capability(trt, config, capability)
    monitor = None
    if progress is not None:
        monitor = config.progress_monitor = make_monitor(module, name, progress)
    engine = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.cancelled:
        raise KeyboardInterrupt
    if engine is None:
        raise ExportError(f"{product} cannot build {name}: {messages.reason()}")
    # Some inputs are reported as ignored only when the network is built.
    _refuse_ignored_inputs(messages, product, name)
    return engine


def make_monitor(module: Any, graph: str, progress: Progress) -> Any:
    """A TensorRT progress monitor that calls `progress`; Ctrl-C ends a build at its next step."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self._totals: dict[str, int] = {}
            self.cancelled = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            self._totals[phase_name] = num_steps
            self._report(phase_name, 0)

        def phase_finish(self, phase_name: str) -> None:
            self._report(phase_name, self._totals.get(phase_name, 0))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._report(phase_name, step + 1)
            return not self.cancelled

        def _report(self, phase: str, done: int) -> None:
            try:
                progress(f"{graph}: {phase}", done, self._totals.get(phase, 0))
            except KeyboardInterrupt:
                self.cancelled = True

    return Monitor()


def _refuse_ignored_inputs(messages: Messages, product: str, name: str) -> None:
    if ignored := messages.ignored_inputs:
        raise ExportError(f"{product} would leave out part of {name}: {ignored[0]}")


def _network_flags(module: Any) -> int:
    # TensorRT 11 and RTX have strongly typed networks only, and may have dropped the flag.
    flags = module.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0


def _profile(builder: Any, network: Any, shapes: dict[str, Shapes]) -> Any:
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        declared = tuple(tensor.shape)
        if -1 not in declared:
            continue
        if tensor.name not in shapes:
            raise ExportError(
                f"the plan has no shapes for the graph's input {tensor.name}: export the bundle "
                "again"
            )
        # Where the graph fixes a size, that size counts.
        filled = [
            tuple(size if size >= 0 else asked for size, asked in zip(declared, shape, strict=True))
            for shape in shapes[tensor.name]
        ]
        profile.set_shape(tensor.name, *filled)
    return profile


def _set_capability(trt: TensorRT, config: Any, capability: int) -> None:
    kinds = trt.module.ComputeCapability
    name = f"SM{capability}"
    if not hasattr(kinds, name):
        raise ExportError(f"TensorRT-RTX {trt.version} does not build for SM {capability}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(kinds, name), 0)
