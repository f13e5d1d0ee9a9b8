"""The `llamacpp` runtime: GGUF files through llama.cpp's low-level API, with the cache kept."""

from awares_edge.bundle.store import Bundle
from awares_edge.runtimes.llamacpp.devices import usable_devices
from awares_edge.runtimes.llamacpp.runtime import LlamaRuntime
from awares_edge.runtimes.options import RuntimeOptions

__all__ = ["LlamaRuntime", "load", "usable_devices"]


def load(bundle: Bundle, options: RuntimeOptions) -> LlamaRuntime:
    """Load a bundle as the registry does."""
    return LlamaRuntime.load(
        bundle, device=options.device, threads=options.threads, context=options.context
    )
