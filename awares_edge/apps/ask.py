"""`awares-edge ask`: one or several questions about one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from awares_edge.apps.console import note, print_json, show_answer
from awares_edge.apps.options import (
    AbstainOption,
    BundleOption,
    ContextOption,
    DecisionBiasOption,
    DeviceOption,
    EndpointModel,
    EndpointUrl,
    ModelOptions,
    ProtocolOption,
    RuntimeOption,
    ThreadsOption,
)
from awares_edge.apps.replies import follow, summarize
from awares_edge.controller.askable import OpenPicture
from awares_edge.controller.options import AskOptions
from awares_edge.controller.policies import InvalidCallPolicy, Policies, TooManyPolicy
from awares_edge.controller.trace import Answer, Mode
from awares_edge.errors import InputError
from awares_edge.files import check_output
from awares_edge.protocol.prompt import check_question
from awares_edge.vision.limits import FORMAT_NAMES
from awares_edge.vision.load import load_image

EPILOG = """
Examples:

    awares-edge ask photo.jpg "What does the small sign say?"

    awares-edge ask receipt.png "What is the total?" "And the date?" --save-view seen.png

    awares-edge ask map.png "What is the street called?" --mode progressive --max-calls 3

    awares-edge ask chart.png "Which bar is highest?" --json | jq .rtr

    awares-edge ask photo.jpg "What?" --endpoint https://fleet.example/v1 --protocol readme
"""


class ModeName(str, Enum):
    """Names for `--mode`."""

    awares = "awares"
    progressive = "progressive"
    full = "full"
    low = "low"


class InvalidCallName(str, Enum):
    """Names for `--on-invalid-call`."""

    protocol = "protocol"
    answer_low = "answer-low"
    whole_image = "whole-image"


class TooManyName(str, Enum):
    """Names for `--on-too-many-crops`."""

    keep_first = "keep-first"
    whole_image = "whole-image"
    answer_low = "answer-low"


def ask(
    image: Annotated[Path, typer.Argument(help=f"Picture: {FORMAT_NAMES}.")],
    questions: Annotated[
        list[str],
        typer.Argument(
            help="What to ask about it; several are one conversation.", metavar="QUESTION..."
        ),
    ],
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    mode: Annotated[
        ModeName,
        typer.Option(
            help="awares: as the model's protocol says; progressive: crops within crops; or a "
            "baseline: full (whole picture at once), low (never zoom)."
        ),
    ] = ModeName.awares,
    protocol: ProtocolOption = None,
    follow_up: Annotated[
        bool,
        typer.Option(
            "--follow-up/--no-follow-up",
            help="Whether a question sees those before it, their answers and crops.",
        ),
    ] = True,
    max_calls: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How often the model may look closer. Default: as its protocol says; in mode "
            "progressive at least 3.",
        ),
    ] = None,
    max_crops: Annotated[
        int | None, typer.Option(min=1, help="Most crops that the model may fetch at once.")
    ] = None,
    max_rtr: Annotated[
        float | None,
        typer.Option(
            help="Most visual tokens of a question, as a share of the full-resolution picture's."
        ),
    ] = None,
    on_invalid_call: Annotated[
        InvalidCallName,
        typer.Option(
            help="What a call that cannot be followed leads to: what the model's protocol says, "
            "an answer from what was shown, or the whole picture."
        ),
    ] = InvalidCallName.protocol,
    on_too_many_crops: Annotated[
        TooManyName, typer.Option(help="What a call for more than --max-crops leads to.")
    ] = TooManyName.keep_first,
    crops: Annotated[
        str | None,
        typer.Option(help="Zoom here without asking the model: crop ids, such as 0,5 or all."),
    ] = None,
    decision_bias: DecisionBiasOption = None,
    abstain_below: AbstainOption = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Most tokens of one turn. Default: as the protocol says."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which to give a question up.")
    ] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    endpoint: EndpointUrl = None,
    model_name: EndpointModel = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object (an array for several questions), nothing else."
        ),
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer as it is generated.")
    ] = False,
    save_view: Annotated[
        Path | None,
        typer.Option(help="Write a PNG: the picture with its crops beside what the model saw."),
    ] = None,
) -> None:
    """Ask one or several questions about one picture."""
    if json and stream:
        raise InputError("--json prints its result at the end: leave --stream out")
    for question in questions:
        check_question(question)
    chosen_mode: Mode = mode.value
    invalid: InvalidCallPolicy = on_invalid_call.value
    too_many: TooManyPolicy = on_too_many_crops.value
    limits = {"--max-calls": max_calls, "--max-crops": max_crops, "--max-rtr": max_rtr}
    if mode in (ModeName.full, ModeName.low) and any(v is not None for v in limits.values()):
        unused = [name for name, value in limits.items() if value is not None]
        raise InputError(f"--mode {mode.value} fetches no crops: leave {' and '.join(unused)} out")
    options = AskOptions(
        mode=chosen_mode,
        max_new_tokens=max_new_tokens,
        max_calls=max_calls,
        timeout=timeout,
        policies=Policies(invalid, max_crops, too_many, max_rtr, abstain_below),
        crops=() if crops is None else _crop_ids(crops),
        decision_bias=decision_bias,
    )
    if save_view:
        check_output(save_view)
    chosen = ModelOptions(bundle, runtime, protocol, device, threads, context, endpoint, model_name)
    # Opened before the model is loaded, so that a bad picture is reported at once.
    pixels = load_image(image)
    with (
        chosen.open() as model,
        model.open(pixels) as picture,
    ):
        answers: list[Answer] = []
        for question in questions:
            following = replace(options, follow_up=follow_up and bool(answers))
            answers.append(_answer(picture, question, following, stream=stream, quiet=json))
        if json:
            rows = [answer.to_dict() for answer in answers]
            print_json(rows if len(rows) > 1 else rows[0])
        if save_view:
            _save_view(picture, questions, answers, save_view)
            if not json:
                note(f"view written to {save_view}")


def _answer(
    picture: OpenPicture, question: str, options: AskOptions, *, stream: bool, quiet: bool
) -> Answer:
    """Ask, and print the answer unless `quiet`."""
    if stream:
        answer = follow(picture.stream(question, options))
    else:
        answer = picture.ask(question, options)
        if not quiet:
            show_answer(answer.text)
    if not quiet:
        summarize(answer)
    return answer


def _save_view(
    picture: OpenPicture, questions: Sequence[str], answers: Sequence[Answer], path: Path
) -> None:
    from awares_edge.apps.view import answer_panel, save_png, sheet

    pairs = zip(questions, answers, strict=True)
    save_png(sheet([answer_panel(picture, *pair) for pair in pairs], columns=1), path)


def _crop_ids(text: str) -> tuple[str, ...]:
    """Ids of `--crops`: "0,5" or "all"."""
    ids = tuple(part.strip() for part in text.split(","))
    if not all(ids) or ("all" in ids and len(ids) > 1) or len(set(ids)) < len(ids):
        raise InputError(f"--crops {text!r} does not name crops: give ids such as 0,5, or all")
    return ids
