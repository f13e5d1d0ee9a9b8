"""Loading models: from a bundle, a checkpoint, or a script."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from awares_edge.bundle.store import Bundle, Progress
from awares_edge.controller.model import Model
from awares_edge.errors import BundleError, CheckpointError, InputError
from awares_edge.protocol.profiles import get_profile
from awares_edge.protocol.tokenizer import TextTokenizer
from awares_edge.runtimes.null import NullRuntime, Script
from awares_edge.runtimes.registry import RuntimeOptions, get_runtime
from awares_edge.spec import TOKENIZER_NAME
from awares_edge.vision.patches import Preprocessing


def load(
    path: str | Path | None = None,
    *,
    runtime: str | None = None,
    protocol: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    context: int | None = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> Model:
    """Load a model.

    Args:
        path: a bundle folder; with runtime "torch" a Hugging Face checkpoint folder; None for the
            embedded nano bundle.
        runtime: name of the runtime; None for the one that the bundle is made for.
        protocol: name of the profile to use in place of the bundle's own, or path of a .toml or
            .json file (checkpoints carry none; they use "paper").
        device: where to compute: "cpu", "cuda", "cuda:1", ...; None for the best device that the
            runtime can use here.
        threads: CPU threads; None for one for each core that this process may use.
        context: most KV cells of a session (text and visual tokens); None for the runtime's limit.
        verify: compare the bundle's files with their hashes first.
        progress: told of each verified file.

    Raises:
        BundleError, CheckpointError, InputError: what is at `path` cannot be used.
        RuntimeUnavailable: a package is missing; the message says how to install it.
        InputError: no such runtime or profile.
    """
    profile = get_profile(protocol) if protocol else None
    options = RuntimeOptions(device, threads, context)
    root = embedded_bundle() if path is None else Path(path)
    if runtime is not None and (reads := get_runtime(runtime).reads) != "bundle":
        if path is None and reads == "checkpoint":
            raise InputError(
                f"the {runtime} runtime reads a checkpoint folder: name one (--bundle)"
            )
        return _load_checkpoint(root, runtime, protocol or "paper", options)
    if not (root / "manifest.json").exists() and (root / "config.json").is_file():
        raise BundleError(
            f"{root} is a checkpoint: export it first (awares-edge export {root} -o BUNDLE), or "
            "use --runtime torch"
        )
    bundle = Bundle.open(root, verify=verify, progress=progress)
    manifest = bundle.manifest
    entry = get_runtime(runtime or manifest.runtime)
    if entry.name != manifest.runtime:
        raise BundleError(
            f"{root} is a bundle for {manifest.runtime}, not for {entry.name}: export the "
            f"checkpoint for {entry.name}, or leave --runtime out"
        )
    entry.require()
    tokenizer = _read_tokenizer(bundle)
    return Model(
        entry.backend.load(bundle, options),
        tokenizer,
        manifest.tokens,
        profile or manifest.protocol,
        manifest.preprocessing,
    )


def scripted(replies: Script = (), *, protocol: str = "paper", context: int = 32_768) -> Model:
    """A model that gives `replies`, one a turn: for tests of code that uses this package.

    Args:
        replies: texts such as "GET_CROPS: ['3']"; a list of texts in place of one is that turn's
            first, second, ... choice. A single text is one reply.
        protocol: name of the profile, or path of a .toml or .json file.
        context: most KV cells of a session.

    Raises:
        InputError: a reply is neither a text nor a list of texts, or no such profile.
    """
    runtime = NullRuntime(replies, context=context)
    tokenizer = runtime.tokenizer
    return Model(
        runtime, tokenizer, tokenizer.special_tokens(), get_profile(protocol), Preprocessing()
    )


def embedded_bundle() -> Path:
    """Folder of the nano bundle that comes with the package."""
    return Path(str(files("awares_edge") / "assets" / "nano"))


def _read_tokenizer(bundle: Bundle) -> TextTokenizer:
    """The bundle's tokenizer, once it agrees with the manifest."""
    tokenizer = TextTokenizer.from_file(bundle.path(TOKENIZER_NAME))
    manifest = bundle.manifest
    if tokenizer.vocabulary > manifest.model.vocabulary:
        raise BundleError(
            f"{TOKENIZER_NAME} has {tokenizer.vocabulary:,} tokens, the model "
            f"{manifest.model.vocabulary:,}: export the bundle again"
        )
    if replace(tokenizer.special_tokens(), eos=manifest.tokens.eos) != manifest.tokens:
        raise BundleError(f"{TOKENIZER_NAME} has other special tokens than the manifest says")
    return tokenizer


def _load_checkpoint(root: Path, runtime: str, protocol: str, options: RuntimeOptions) -> Model:
    entry = get_runtime(runtime)
    entry.require()
    if not root.is_dir():
        raise CheckpointError(f"no such checkpoint: {root}")
    from awares_edge.checkpoint.preprocessor import read_eos, read_preprocessing

    loaded = entry.backend.load(root, options)
    tokenizer = TextTokenizer.from_file(root / TOKENIZER_NAME)
    profile = get_profile(protocol)
    tokenizer.require_tokens(profile.tokens, profile.name)
    special = tokenizer.special_tokens(read_eos(root))
    return Model(loaded, tokenizer, special, profile, read_preprocessing(root))
