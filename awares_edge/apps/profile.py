"""`awares-edge profile`: where time, memory and energy go."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product, zip_longest
from math import isqrt
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from awares_edge.api import embedded_bundle
from awares_edge.apps.console import note, print_json, progress_bar
from awares_edge.apps.options import (
    DeviceOption,
    HtmlOption,
    JsonOption,
    ProtocolOption,
    open_endpoint,
    refuse,
)
from awares_edge.apps.profile_table import print_comparison, print_run
from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError
from awares_edge.evaluation.profile.compare import compare_runs, read_run
from awares_edge.evaluation.profile.compare_report import comparison_html
from awares_edge.evaluation.profile.job import MODES, Job, ProfileMode, Variant
from awares_edge.evaluation.profile.report import run_html
from awares_edge.evaluation.profile.run import profile as measure
from awares_edge.evaluation.profile.work import Shape
from awares_edge.files import check_output, whole_file
from awares_edge.runtimes.registry import get_runtime
from awares_edge.runtimes.threads import check_threads
from awares_edge.spec import MANIFEST_NAME

EPILOG = """
Examples:

    awares-edge profile nano-bundle nano-q8 --threads 1,2 --html profile.html

    awares-edge profile nano-bundle --reference ./nano-checkpoint --protocol nano --json

    awares-edge profile awares-7b-q4 --max-pixels 802816,1605632 --mode awares --sustained 30

    awares-edge profile nano-bundle --endpoint http://gpu:8000/v1 --protocol nano

    awares-edge profile --compare old.json new.json

Modes: awares (first view, call, crops, answer), again (a second question about the same picture),
full, low (no zoom), always-full (a call for the whole picture). --reference adds the published way:
two `generate` calls of transformers, nothing kept.

Endpoints are measured from here: what a server does not report is blank. Their keys are taken from
AWARES_EDGE_ENDPOINT_KEY.
"""

Show: TypeAlias = Callable[[dict[str, Any]], None]

_DEFAULT_MODES: tuple[ProfileMode, ...] = ("awares", "again", "full", "low", "always-full")
_DEFAULT_SIDE = 896


BundlesArgument: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Bundle folders. Default: the embedded nano model, where no --endpoint is given."
    ),
]
EndpointsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Measure a model on an OpenAI-compatible server too, up to /v1; may be repeated.",
    ),
]
ModelNamesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Name of the model on --endpoint, once for each. Default: their only ones.",
    ),
]
ThreadCountsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="CPU threads, or several: 1,2. Default: one a core, unpinned."),
]
MaxPixelsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Area to scale pictures down to, or several. Default: the protocol's."),
]
ModeOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help=f"One of {', '.join(_DEFAULT_MODES)}; may be repeated. Default: all."),
]
ReferenceOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Checkpoint folder: measure transformers' two generate calls beside."),
]
IterationsOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Questions that count.")]
WarmupOption: TypeAlias = Annotated[
    int, typer.Option(min=0, help="First questions that do not count.")
]
AnswerTokensOption: TypeAlias = Annotated[
    int, typer.Option(min=1, max=512, help="Length of answers.")
]
CropsOption: TypeAlias = Annotated[str, typer.Option(help="Crop ids that the scripted call names.")]
FreeOption: TypeAlias = Annotated[
    bool, typer.Option("--free", help="Leave calls and answers to the model, unscripted.")
]
SideOption: TypeAlias = Annotated[
    int | None,
    typer.Option(min=28, max=8192, help="Side of the noise pictures in pixels. Default: 896."),
]
SustainedOption: TypeAlias = Annotated[
    float, typer.Option(min=0, help="Go on for so many minutes, and watch heat and speed.")
]
SeedOption: TypeAlias = Annotated[int, typer.Option(min=0, help="Seed of pictures and questions.")]
CompareOption: TypeAlias = Annotated[
    tuple[Path, Path] | None,
    typer.Option(help="Two files of --json, the old one first: compare them; measure nothing."),
]


def profile(
    bundles: BundlesArgument = None,
    threads: ThreadCountsOption = None,
    max_pixels: MaxPixelsOption = None,
    mode: ModeOption = None,
    reference: ReferenceOption = None,
    endpoint: EndpointsOption = None,
    model_name: ModelNamesOption = None,
    iterations: IterationsOption = 20,
    warmup: WarmupOption = 3,
    answer_tokens: AnswerTokensOption = 16,
    crops: CropsOption = "0,3",
    free: FreeOption = False,
    side: SideOption = None,
    sustained: SustainedOption = 0.0,
    seed: SeedOption = 0,
    protocol: ProtocolOption = None,
    device: DeviceOption = None,
    html_file: HtmlOption = None,
    compare: CompareOption = None,
    json: JsonOption = False,
) -> None:
    """Measure time by turn and phase, tokens, memory and energy of bundles and endpoints."""
    if html_file:
        check_output(html_file)
    if compare:
        _compare(compare, bool(bundles or endpoint), json, html_file)
        return
    paths = bundles or ([] if endpoint else [embedded_bundle()])
    counts, areas = _numbers(threads, "--threads"), _numbers(max_pixels, "--max-pixels")
    modes = _modes(mode)
    _check_models(paths, reference)
    if not paths and reference is None:
        refuse("is for bundles: name one", threads=threads, max_pixels=max_pixels, device=device)
    variants = [
        *_variants(paths, reference, protocol, device, counts, areas, modes),
        *_served(endpoint or [], model_name or [], protocol, modes),
    ]
    jobs = [
        Job(
            variant=variant,
            side=side or _side(variant.max_pixels),
            crops=tuple(part.strip() for part in crops.split(",")),
            answer_tokens=answer_tokens,
            free=free,
            warmup=warmup,
            iterations=iterations,
            seed=seed,
            sustained_s=60 * sustained,
        )
        for variant in variants
    ]
    with progress_bar() as update:
        run = measure(jobs, update)
    _finish(run, json, html_file, run_html(run), print_run)


def _compare(files: tuple[Path, Path], others: bool, json: bool, html_file: Path | None) -> None:
    """Set two earlier runs side by side, the old one first."""
    if others:
        raise InputError("--compare reads two files: leave bundles and endpoints out")
    result = compare_runs(*map(read_run, files))
    _finish(result, json, html_file, comparison_html(result), print_comparison)


def _check_models(bundles: list[Path], reference: Path | None) -> None:
    """Find out before the first variant what would stop the last one."""
    for path in bundles:
        if (path / "config.json").is_file() and not (path / MANIFEST_NAME).exists():
            raise InputError(f"{path} is a checkpoint: export it first, or name it as --reference")
        get_runtime(Bundle.open(path, verify=False).manifest.runtime).require()
    if reference is not None:
        get_runtime("torch").require()
        Shape.read(reference)


def _variants(
    paths: list[Path],
    reference: Path | None,
    protocol: str | None,
    device: str | None,
    threads: list[int | None],
    pixels: list[int | None],
    modes: list[ProfileMode],
) -> list[Variant]:
    for count in threads:
        check_threads(count)
    variants = []
    for count, area in product(threads, pixels):
        if reference is not None:
            variants.append(
                Variant(str(reference), "reference", "torch", protocol, device, count, area)
            )
        variants += [
            Variant(str(path), mode, None, protocol, device, count, area)
            for path, mode in product(paths, modes)
        ]
    return variants


def _served(
    urls: list[str], names: list[str], protocol: str | None, modes: list[ProfileMode]
) -> list[Variant]:
    """Models on servers. Each server is asked here, so that one that cannot be used is named before
    anything is measured."""
    if names and len(names) != len(urls):
        raise InputError("--model names the model of an --endpoint: give one for each, or none")
    variants = []
    for url, name in zip_longest(urls, names):
        with open_endpoint(url, name, protocol) as model:
            about = model.about
        variants += [
            Variant(about.address, mode, None, protocol, model=about.name) for mode in modes
        ]
    return variants


def _side(max_pixels: int | None) -> int:
    """A picture that is not enlarged: what is scaled down to the limit is at least as large."""
    return max(_DEFAULT_SIDE, isqrt((max_pixels or 1) - 1) + 1)


def _numbers(given: str | None, option: str) -> list[int | None]:
    if given is None:
        return [None]
    try:
        numbers: list[int | None] = [int(part) for part in given.split(",")]
    except ValueError:
        raise InputError(
            f"{option} must be a number or several, such as 1,2: not {given!r}"
        ) from None
    if any(number is None or number < 1 for number in numbers):
        raise InputError(f"{option} must be at least 1")
    return list(dict.fromkeys(numbers))


def _modes(given: list[str] | None) -> list[ProfileMode]:
    chosen: list[ProfileMode] = []
    for name in given or _DEFAULT_MODES:
        if name not in MODES or name == "reference":
            raise InputError(f"no mode {name!r}: choose one of {', '.join(_DEFAULT_MODES)}")
        chosen.append(name)
    return list(dict.fromkeys(chosen))


def _finish(
    result: dict[str, Any], json: bool, html_file: Path | None, page: str, show: Show
) -> None:
    try:
        print_json(result) if json else show(result)
    finally:
        if html_file:
            with whole_file(html_file) as file:
                file.write(page.encode())
    if html_file and not json:
        note(f"report written to {html_file}")
