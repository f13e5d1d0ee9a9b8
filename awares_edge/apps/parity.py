"""`awares-edge parity`: does a bundle decide and answer as its reference does?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from awares_edge.apps.console import note, print_json
from awares_edge.apps.options import (
    DeviceOption,
    EndpointModel,
    EndpointUrl,
    HtmlOption,
    JsonOption,
    ProtocolOption,
    ThreadsOption,
)
from awares_edge.apps.parity_recorder import Recorder, runtime_name
from awares_edge.apps.parity_table import print_results
from awares_edge.errors import InputError
from awares_edge.evaluation.parity import Limits, Recording, compare, load, save
from awares_edge.evaluation.parity.questions import (
    Questions,
    read_questions,
    synthetic_questions,
)
from awares_edge.evaluation.parity.report import html
from awares_edge.files import check_output, whole_file
from awares_edge.runtimes.registry import get_runtime
from awares_edge.synth.generate import Split

EPILOG = """
Examples:

    awares-edge parity ./nano-checkpoint nano-bundle nano-q8 --protocol nano --html report.html

    awares-edge parity ./AWARES-Qwen2.5-VL-7B --save-reference awares-7b.parity

    awares-edge parity awares-7b.parity awares-7b-q4

    awares-edge parity awares-7b.parity --endpoint http://gpu:8000/v1 --protocol readme

The second line runs on a large machine, the third on the device: the file holds the reference's
decisions, answers, pixels, features and logits. Exit code: 0 where every candidate agrees, 1 where
one does not, 2 where something cannot be used.
"""

_DEFAULT_LIMIT = 200
_LIMITS = Limits()


ReferenceArgument: TypeAlias = Annotated[
    Path,
    typer.Argument(help="Checkpoint folder (needs torch), bundle folder, or saved reference."),
]
CandidatesArgument: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(help="Checkpoint folders, bundle folders or saved references to compare."),
]
SaveReferenceOption: TypeAlias = Annotated[
    Path | None, typer.Option(help="Write what the reference said and computed to this file.")
]
QuestionsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help='JSONL file of your own: {"image": "photo.jpg", "question": "..."} a line, with '
        '"answer" where it is known. Default: the synthetic suite.'
    ),
]
LimitOption: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help=f"Number of questions. Default: {_DEFAULT_LIMIT}, or all of a file."),
]
SeedOption: TypeAlias = Annotated[
    int | None, typer.Option(min=0, help="Seed of the questions. Default: 0.")
]
SplitOption: TypeAlias = Annotated[
    Split | None, typer.Option(help="Split to draw from. Default: test.")
]
ProbesOption: TypeAlias = Annotated[
    int, typer.Option(min=0, help="Questions to compare pixels, features and logits of.")
]
MaxNewTokensOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Most tokens of one turn.")]
MinDecisionsOption: TypeAlias = Annotated[
    float, typer.Option(min=0, max=1, help="Least share of equal crop decisions.")
]
MinAnswersOption: TypeAlias = Annotated[
    float, typer.Option(min=0, max=1, help="Least share of equal answers.")
]
MinWarmOption: TypeAlias = Annotated[
    float, typer.Option(min=0, max=1, help="Least share of equal answers, cold and warm.")
]
MaxDriftOption: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0, help="Largest difference of logits, in standard deviations."),
]
MinCosineOption: TypeAlias = Annotated[
    float, typer.Option(min=0, max=1, help="A stage below this has diverged.")
]


def parity(
    reference: ReferenceArgument,
    candidates: CandidatesArgument = None,
    save_reference: SaveReferenceOption = None,
    questions: QuestionsOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    split: SplitOption = None,
    probes: ProbesOption = 16,
    max_new_tokens: MaxNewTokensOption = 64,
    min_decisions: MinDecisionsOption = _LIMITS.decisions,
    min_answers: MinAnswersOption = _LIMITS.answers,
    min_warm: MinWarmOption = _LIMITS.warm,
    max_drift: MaxDriftOption = None,
    min_cosine: MinCosineOption = _LIMITS.cosine,
    protocol: ProtocolOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    endpoint: EndpointUrl = None,
    model_name: EndpointModel = None,
    html_file: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """Compare crop decisions, answers and logits of bundles with those of a reference."""
    paths = candidates or []
    _check_request(reference, paths, endpoint, save_reference, html_file)
    saved = {path: load(path) for path in (reference, *paths) if path.is_file()}
    asked = None
    if endpoint is not None or not saved.keys() >= {reference, *paths}:
        source = saved[reference].about["questions"] if reference in saved else {}
        asked = _questions(questions, limit, seed, split, source)
    recorder = Recorder(saved, asked, protocol, device, threads, probes, max_new_tokens)
    ground = recorder.record(reference)
    if save_reference:
        _save_reference(ground, save_reference, json)
    limits = Limits(min_decisions, min_answers, min_warm, max_drift, min_cosine)
    results = [compare(ground, recorder.record(path, ground), limits) for path in paths]
    if endpoint is not None:
        served = recorder.record_endpoint(endpoint, model_name, ground)
        results.append(compare(ground, served, limits))
    _report(ground, results, json, html_file)
    if not all(result["agrees"] for result in results):
        raise typer.Exit(1)


def _check_request(
    reference: Path,
    candidates: list[Path],
    endpoint: str | None,
    save_reference: Path | None,
    page: Path | None,
) -> None:
    """Find out before the first question what would fail after the last one."""
    given = bool(candidates or endpoint)
    if not given and save_reference is None:
        raise InputError("nothing to compare with: name a candidate, or --save-reference FILE")
    if page and not given:
        raise InputError("--html needs a candidate to compare with the reference")
    if reference.is_file() and save_reference:
        raise InputError(f"{reference} is a saved reference already: leave --save-reference out")
    for output in (save_reference, page):
        if output:
            check_output(output)
    for path in (reference, *candidates):
        if not path.exists():
            raise InputError(f"no such bundle, checkpoint or saved reference: {path}")
        if path.is_dir():
            get_runtime(runtime_name(path)).require()


def _save_reference(reference: Recording, file: Path, json: bool) -> None:
    save(reference, file)
    if not json:
        note(f"reference written to {file}")


def _report(
    reference: Recording, results: list[dict[str, Any]], json: bool, page: Path | None
) -> None:
    try:
        if json:
            about = {"format": "awares-edge-parity-report", "version": 1}
            print_json({**about, "reference": reference.about, "candidates": results})
        else:
            print_results(reference, results)
    finally:
        if page:
            with whole_file(page) as file:
                file.write(html(results).encode())
    if page and not json:
        note(f"report written to {page}")


def _questions(
    file: Path | None,
    limit: int | None,
    seed: int | None,
    split: Split | None,
    source: dict[str, Any],
) -> Questions:
    """The questions of the options, or of a saved reference."""
    given = {"limit": limit, "seed": seed, "split": split}
    if file is not None:
        if seed is not None or split is not None:
            raise InputError(
                "--seed and --split are for the synthetic suite: leave out --questions"
            )
        return read_questions(file, limit if limit is not None else source.get("limit"))
    if "file" in source:
        raise InputError(
            f"the reference was asked {source['file']}: give that file with --questions"
        )
    for name, value in given.items():
        if source and value is not None and value != source.get(name):
            raise InputError(
                f"the reference was asked with --{name} {source.get(name)}: leave --{name} out"
            )
    return synthetic_questions(
        source.get("split", split or "test"),
        int(source.get("seed", seed or 0)),
        int(source.get("limit", limit or _DEFAULT_LIMIT)),
    )
