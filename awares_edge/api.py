"""Loading models: from a bundle, a checkpoint, or a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from awares_edge.bundle.store import Bundle, Progress
from awares_edge.controller.model import Model
from awares_edge.errors import BundleError, InputError
from awares_edge.protocol import ProtocolProfile, get_profile
from awares_edge.protocol.calibration import NOT_CALIBRATED, Calibration
from awares_edge.protocol.profiles import DEFAULT_PROFILE, published_profile
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer
from awares_edge.runtimes.base import Runtime
from awares_edge.runtimes.null import NullRuntime, Script
from awares_edge.runtimes.registry import Entry, RuntimeOptions, get_runtime
from awares_edge.spec import MANIFEST_NAME, TOKENIZER_NAME
from awares_edge.vision.patches import Preprocessing


def load(
    path: str | Path | None = None,
    *,
    runtime: str | None = None,
    protocol: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    context: int | None = None,
    dtype: str | None = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> Model:
    """Load a model.

    Args:
        path: a bundle folder; with runtime "torch" a Hugging Face checkpoint folder, or the id of
            a repository on the hub, "owner/name"; None for the embedded nano bundle.
        runtime: name of the runtime; None for the one that the bundle is made for.
        protocol: profile to use instead of the bundle's own: a name, or the path of a .toml or
            .json file. A checkpoint carries none: without a name it gets the one that
            `protocol.profiles.published_profile` finds, else "paper".
        device: where to compute: "cpu", "cuda", "cuda:1", ...; None for the best device that the
            runtime can use here.
        threads: CPU threads; None for one for each core that this process may use.
        context: most KV cells of a session (text and visual tokens); None for the runtime's limit.
        dtype: what a checkpoint computes in: "float32" (None), "float16" or "bfloat16". A bundle
            computes in the precision that it was exported in.
        verify: compare the bundle's files with their hashes first.
        progress: called with (name, done, total) after each verified file.

    Raises:
        BundleError, CheckpointError, InputError: `path` cannot be used.
        RuntimeUnavailable: a package is missing; the message says how to install it.
        InputError: no such runtime, profile or dtype, or a dtype without a checkpoint.
    """
    profile = get_profile(protocol) if protocol else None
    options = RuntimeOptions(device, threads, context, dtype)
    if dtype is not None and (runtime is None or get_runtime(runtime).reads != "checkpoint"):
        raise InputError("a dtype is only for checkpoints: leave it out, or use the torch runtime")
    if runtime is not None and get_runtime(runtime).reads != "bundle":
        return _load_checkpoint(path, get_runtime(runtime), profile, options)
    root = embedded_bundle() if path is None else Path(path)
    if not (root / MANIFEST_NAME).exists() and (root / "config.json").is_file():
        raise BundleError(
            f"{root} is a checkpoint: export it first (awares-edge export {root} -o BUNDLE), or "
            "use the torch runtime"
        )
    bundle = Bundle.open(root, verify=verify, progress=progress)
    return _load_bundle(bundle, runtime, profile, options)


def scripted(replies: Script = (), *, protocol: str = "paper", context: int = 32_768) -> Model:
    """A model that gives `replies`, one a turn: for tests of code that uses this package.

    Args:
        replies: texts such as "GET_CROPS: ['3']"; a list of texts instead of one is that turn's
            first, second, ... choice. A single text is one reply.
        protocol: name of the profile, or path of a .toml or .json file.
        context: most KV cells of a session.

    Raises:
        InputError: a reply is neither a text nor a list of texts, or no such profile.
    """
    runtime = NullRuntime(replies, context=context)
    return assemble(runtime, runtime.tokenizer, get_profile(protocol))


def embedded_bundle() -> Path:
    """Folder of the nano bundle that comes with the package."""
    return Path(str(files("awares_edge") / "assets" / "nano"))


def assemble(
    runtime: Runtime,
    tokenizer: TextTokenizer,
    profile: ProtocolProfile,
    preprocessing: Preprocessing | None = None,
    tokens: SpecialTokens | None = None,
    calibration: Calibration | None = None,
    cell_bytes: int | None = None,
    identity: Callable[[], str] | None = None,
) -> Model:
    """A model of its parts, wherever they were read.

    Args:
        preprocessing: None for Qwen2.5-VL's own rules.
        tokens: None for the conversation format's, with the ends that the tokenizer knows.
        calibration: fitted for these parts; None for none.
        cell_bytes: most memory of one KV cell; None where the model's shape is not known.
        identity: gives one hash over the files they were read from; None where there are none.

    Raises:
        BundleError: the tokenizer lacks a token of the conversation format.
    """
    tokens = tokens or tokenizer.special_tokens()
    fitted = calibration or NOT_CALIBRATED
    pixels = preprocessing or Preprocessing()
    return Model(runtime, tokenizer, tokens, profile, pixels, fitted, cell_bytes, identity)


def _load_bundle(
    bundle: Bundle, runtime: str | None, profile: ProtocolProfile | None, options: RuntimeOptions
) -> Model:
    manifest = bundle.manifest
    entry = get_runtime(runtime or manifest.runtime)
    if entry.name != manifest.runtime:
        raise BundleError(
            f"{bundle.root} is a bundle for {manifest.runtime}, not for {entry.name}: export the "
            f"checkpoint for {entry.name}, or name no runtime"
        )
    entry.require()
    tokenizer = _read_tokenizer(bundle)
    loaded = entry.backend.load(bundle, options)
    chosen = profile or manifest.protocol
    # Fitted under the bundle's own profile, a calibration does not hold for another.
    fitted = manifest.calibration if chosen == manifest.protocol else None
    return assemble(
        *(loaded, tokenizer, chosen, manifest.preprocessing, manifest.tokens, fitted),
        cell_bytes=manifest.model.cell_bytes,
        identity=lambda: manifest.sha256,
    )


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


def _load_checkpoint(
    path: str | Path | None,
    entry: Entry,
    profile: ProtocolProfile | None,
    options: RuntimeOptions,
) -> Model:
    if path is None and entry.reads == "checkpoint":
        raise InputError(f"the {entry.name} runtime reads a checkpoint, not a bundle: name one")
    entry.require()
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.checkpoint.fingerprint import fingerprint
    from awares_edge.checkpoint.preprocessor import read_eos, read_preprocessing
    from awares_edge.checkpoint.source import find_source
    from awares_edge.checkpoint.spec_reader import read_spec

    root = find_source(embedded_bundle() if path is None else path).path
    loaded = entry.backend.load(root, options)
    tokenizer = TextTokenizer.from_file(root / TOKENIZER_NAME)
    chosen = profile or published_profile(path or root) or get_profile(DEFAULT_PROFILE)
    tokenizer.require_tokens(chosen.tokens, chosen.name)
    tokens = tokenizer.special_tokens(read_eos(root))
    return assemble(
        *(loaded, tokenizer, chosen, read_preprocessing(root), tokens),
        cell_bytes=read_spec(root, has_head=True).cell_bytes,  # the head makes no difference
        identity=lambda: fingerprint(Checkpoint.open(root)),
    )
