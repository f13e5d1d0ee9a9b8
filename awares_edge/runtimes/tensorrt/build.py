"""From an ONNX graph to a serialized engine, with either product."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awares_edge.errors import ExportError
from awares_edge.files import whole_file
from awares_edge.runtimes.tensorrt.api import TensorRT
from awares_edge.runtimes.tensorrt.plan import Shapes

Progress = Callable[[str, int, int], None]

# Said of an input that the parser reads and then does not use: the engine would compute something
# else than the graph says.
_IGNORED = re.compile(r"ignor|not used|unused|will have no effect", re.IGNORECASE)


@dataclass(slots=True)
class BuildLog:
    """What TensorRT said while it parsed and built.

    Attributes:
        errors, warnings: one line each, in order.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ignored_inputs(self) -> list[str]:
        """Warnings that part of the graph is not computed."""
        return [line for line in self.warnings if _IGNORED.search(line)]


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One engine to build.

    Attributes:
        name: for people ("text", "vision").
        graph: the ONNX file; its weights lie beside it.
        profiles: (min, opt, max) shapes of dynamic inputs, one dict an optimization profile.
        capability: SM to build for ahead of time (TensorRT-RTX alone), as 86; None for this GPU.
    """

    name: str
    graph: Path
    profiles: Sequence[dict[str, Shapes]]
    capability: int | None = None


def build_engine(
    trt: TensorRT,
    request: BuildRequest,
    *,
    timing_cache: Path | None = None,
    progress: Progress | None = None,
    log: BuildLog | None = None,
) -> Any:
    """Build an engine.

    Args:
        timing_cache: file of kernel timings to start from and to keep (full TensorRT alone).
        progress: told (what, done, total) as the build goes on.

    Returns:
        the serialized engine, a buffer that TensorRT owns.

    Raises:
        ExportError: TensorRT refuses the graph or the shapes; its first message is quoted.
    """
    log = BuildLog() if log is None else log
    module = trt.module
    logger = make_logger(module, log)
    builder = module.Builder(logger)
    network = builder.create_network(_network_flags(module))
    parser = module.OnnxParser(network, logger)
    if not parser.parse_from_file(str(request.graph)):
        said = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise ExportError(
            f"{trt.product} {trt.version} refuses {request.name}: {_first(said, log)}"
        )
    _require_whole(trt, request, log)
    config = builder.create_builder_config()
    for shapes in request.profiles:
        config.add_optimization_profile(_profile(builder, network, shapes))
    if request.capability is not None:
        _set_capability(trt, config, request.capability)
    monitor = None
    if progress is not None:
        monitor = config.progress_monitor = make_monitor(module, progress)
    cache = None
    if timing_cache is not None and not trt.rtx:
        stored = timing_cache.read_bytes() if timing_cache.is_file() else b""
        cache = config.create_timing_cache(stored)
        # A cache of another GPU or version is refused, and the build starts from nothing.
        config.set_timing_cache(cache, ignore_mismatch=False)
    blob = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.cancelled:
        raise KeyboardInterrupt
    if blob is None:
        raise ExportError(
            f"{trt.product} {trt.version} cannot build {request.name}: {_first([], log)}"
        )
    _require_whole(trt, request, log)
    if cache is not None and timing_cache is not None:
        _write(timing_cache, bytes(memoryview(config.get_timing_cache().serialize())))
    return blob


def _require_whole(trt: TensorRT, request: BuildRequest, log: BuildLog) -> None:
    # Some of these are said by the parser, others only when the network is built.
    if ignored := log.ignored_inputs:
        raise ExportError(
            f"{trt.product} {trt.version} would leave out part of {request.name}: {ignored[0]}"
        )


def make_logger(module: Any, log: BuildLog) -> Any:
    """TensorRT's logger interface over a `BuildLog`."""

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            line = " ".join(message.split())
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                log.errors.append(line)
            elif severity == module.ILogger.WARNING:
                log.warnings.append(line)

    return Logger()


def make_monitor(module: Any, progress: Progress) -> Any:
    """TensorRT's progress interface over a callback; Ctrl-C ends a build at its next step."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self._totals: dict[str, int] = {}
            self.cancelled = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            self._totals[phase_name] = num_steps
            self._tell(phase_name, 0)

        def phase_finish(self, phase_name: str) -> None:
            self._tell(phase_name, self._totals.get(phase_name, 0))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return not self.cancelled

        def _tell(self, phase: str, done: int) -> None:
            try:
                progress(phase, done, self._totals.get(phase, 0))
            except KeyboardInterrupt:
                self.cancelled = True

    return Monitor()


def _network_flags(module: Any) -> int:
    # TensorRT 11 and RTX know strongly typed networks alone, and may have dropped the flag.
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
        # A size that the graph fixes is the graph's to say.
        filled = [
            tuple(size if size >= 0 else asked for size, asked in zip(declared, shape, strict=True))
            for shape in shapes[tensor.name]
        ]
        profile.set_shape(tensor.name, *filled)
    return profile


def _set_capability(trt: TensorRT, config: Any, capability: int) -> None:
    if not trt.rtx:
        raise ExportError(
            "only TensorRT-RTX builds for another GPU: run build-engine on the target"
        )
    kinds = trt.module.ComputeCapability
    name = f"SM{capability}"
    if not hasattr(kinds, name):
        raise ExportError(f"TensorRT-RTX {trt.version} does not build for SM {capability}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(kinds, name), 0)


def _first(said: Sequence[str], log: BuildLog) -> str:
    lines = [*(line for line in said if line), *log.errors]
    return " ".join(lines[0].split()) if lines else "it gives no reason"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(data)
