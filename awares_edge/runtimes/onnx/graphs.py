"""Loading a bundle's graphs into onnxruntime."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from awares_edge.bundle.store import Bundle
from awares_edge.errors import BundleError
from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.onnx import cpu
from awares_edge.runtimes.onnx.devices import providers
from awares_edge.runtimes.onnx.graph_checks import check_graph
from awares_edge.runtimes.onnx.prepacked import GRAPHS, PackedCache, worthwhile
from awares_edge.spec import GRAPH_SUFFIX, half_graph

_ERRORS_ONLY = 3


def for_gpus(bundle: Bundle) -> bool:
    """Whether a bundle has graphs for GPUs: onnxruntime's cached attention in CUDA is fp16's."""
    return all(half_graph(name) in bundle.manifest.files for name in GRAPHS)


def graph_file(name: str, device: Device) -> str:
    """The file of a graph that a device computes."""
    return f"{name}{GRAPH_SUFFIX}" if device.on_cpu else half_graph(name)


def load_graphs(
    bundle: Bundle, device: Device, threads: int, *, prepacked: bool = True
) -> dict[str, ort.InferenceSession]:
    """The text and vision graphs of a bundle, by name.

    Args:
        threads: CPU threads of one call.
        prepacked: keep the packed weights of a quantized bundle on disk: see `prepacked`.

    Raises:
        BundleError: a graph cannot be loaded, or is not the manifest's model's.
    """
    own = {name: bundle.path(graph_file(name, device)) for name in GRAPHS}
    packed: dict[str, Path] = {}
    if prepacked and device.on_cpu and worthwhile(bundle):

        def pack(name: str, target: Path) -> None:
            open_graph(own[name], device, threads, target)

        packed = PackedCache().get(bundle, pack)
    graphs = {}
    for name in GRAPHS:
        session = _open_packed(packed.get(name), device, threads)
        graphs[name] = session or open_graph(own[name], device, threads)
        check_graph(graphs[name], name, bundle.manifest.model)
    return graphs


def _open_packed(path: Path | None, device: Device, threads: int) -> ort.InferenceSession | None:
    """A packed graph; None where there is none, or where it has vanished since it was found."""
    try:
        return open_graph(path, device, threads) if path else None
    except BundleError:
        return None


def open_graph(
    path: Path, device: Device, threads: int, packed: Path | None = None
) -> ort.InferenceSession:
    """
    Args:
        packed: where to write the optimized graph with its packed weights; None for nowhere.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads
    # Sequence lengths differ from call to call: a memory plan for each shape would only accumulate.
    options.enable_mem_pattern = False
    # Each graph has threads of its own. Without this, those of the graph that has just run go on
    # spinning on the cores that the other one needs: two threads were 1.2 times slower.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if cpu.overflows():
        # int8 weights become uint8, whose products are added in 32 bits: slower, but exact.
        options.add_session_config_entry("session.x64quantprecision", "1")
    if packed:
        options.optimized_model_filepath = str(packed)
        for key, value in (
            ("save_external_prepacked_constant_initializers", "1"),
            ("optimized_model_external_initializers_file_name", f"{packed.stem}.data"),
        ):
            options.add_session_config_entry(f"session.{key}", value)
    try:
        # Without its fallback, which would quietly compute on the CPU.
        return ort.InferenceSession(
            str(path), options, providers=providers(device), enable_fallback=0
        )
    except Exception as error:  # onnxruntime raises its own bare exceptions
        reason = str(error).splitlines()[0]
        raise BundleError(f"onnxruntime cannot load {path}: {reason}") from error
