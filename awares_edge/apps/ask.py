"""`awares-edge ask`: one question about one picture."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from awares_edge.apps.console import (
    describe_path,
    describe_time,
    describe_tokens,
    note,
    print_json,
    show_answer,
    warn,
)
from awares_edge.apps.options import (
    BundleOption,
    ContextOption,
    DeviceOption,
    JsonOption,
    ProtocolOption,
    RuntimeOption,
    ThreadsOption,
    load_model,
)
from awares_edge.controller.options import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.controller.policies import InvalidCallPolicy, Policies, TooManyPolicy
from awares_edge.controller.trace import Answer, CropsRequested, Mode, ReasoningDelta, TextDelta
from awares_edge.errors import InputError
from awares_edge.files import check_output
from awares_edge.protocol.prompt import check_question
from awares_edge.vision.limits import FORMAT_NAMES
from awares_edge.vision.load import load_image

EPILOG = """
Examples:

    awares-edge ask photo.jpg "What does the small sign say?"

    awares-edge ask receipt.png "What is the total?" --bundle my-bundle --save-view seen.png

    awares-edge ask chart.png "Which bar is highest?" --json | jq .rtr
"""


class ModeName(str, Enum):
    """Names for `--mode`."""

    awares = "awares"
    full = "full"
    low = "low"


class InvalidCallName(str, Enum):
    """Names for `--on-invalid-call`."""

    answer_low = "answer-low"
    whole_image = "whole-image"


class TooManyName(str, Enum):
    """Names for `--on-too-many-crops`."""

    keep_first = "keep-first"
    whole_image = "whole-image"
    answer_low = "answer-low"


def ask(
    image: Annotated[Path, typer.Argument(help=f"Picture: {FORMAT_NAMES}.")],
    question: Annotated[str, typer.Argument(help="What to ask about it.")],
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    mode: Annotated[
        ModeName,
        typer.Option(help="awares; or a baseline: full (whole picture at once), low (never zoom)."),
    ] = ModeName.awares,
    protocol: ProtocolOption = None,
    max_crops: Annotated[
        int | None, typer.Option(min=1, help="Most crops that the model may fetch.")
    ] = None,
    max_rtr: Annotated[
        float | None,
        typer.Option(help="Most visual tokens, as a share of the full-resolution picture's."),
    ] = None,
    on_invalid_call: Annotated[
        InvalidCallName, typer.Option(help="What a call that names no crop leads to.")
    ] = InvalidCallName.answer_low,
    on_too_many_crops: Annotated[
        TooManyName, typer.Option(help="What a call for more than --max-crops leads to.")
    ] = TooManyName.keep_first,
    crops: Annotated[
        str | None,
        typer.Option(help="Zoom here without asking the model: crop ids, such as 0,5 or all."),
    ] = None,
    decision_bias: Annotated[
        float | None,
        typer.Option(
            help="Above 0 the model zooms more often, below 0 less. "
            "Default: the bundle's calibrated bias."
        ),
    ] = None,
    abstain_below: Annotated[
        float | None,
        typer.Option(help='Answer "unsure" where the confidence is below this, 0 to 1.'),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of one turn.")] = 512,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which to give up.")] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    json: JsonOption = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer as it is generated.")
    ] = False,
    save_view: Annotated[
        Path | None,
        typer.Option(help="Write a PNG: the picture with its crops beside what the model saw."),
    ] = None,
) -> None:
    """Ask one question about one picture."""
    if json and stream:
        raise InputError("--json prints one object at the end: leave --stream out")
    check_question(question)
    chosen_mode: Mode = mode.value
    invalid: InvalidCallPolicy = on_invalid_call.value
    too_many: TooManyPolicy = on_too_many_crops.value
    if mode is not ModeName.awares and not (max_crops is None and max_rtr is None):
        raise InputError(
            f"--mode {mode.value} fetches no crops: leave --max-crops and --max-rtr out"
        )
    options = AskOptions(
        mode=chosen_mode,
        max_new_tokens=max_new_tokens,
        timeout=timeout,
        policies=Policies(invalid, max_crops, too_many, max_rtr, abstain_below),
        crops=() if crops is None else _crop_ids(crops),
        decision_bias=decision_bias,
    )
    if save_view:
        check_output(save_view)
    # Opened before the model is loaded, so that a bad picture is reported at once.
    pixels = load_image(image)
    with (
        load_model(bundle, runtime, protocol, device, threads, context) as model,
        model.open(pixels) as picture,
    ):
        answer = _stream(picture, question, options) if stream else picture.ask(question, options)
        if json:
            print_json(answer.to_dict())
        elif not stream:
            show_answer(answer.text)
        if not json:
            summary = (describe_path(answer), describe_tokens(answer), describe_time(answer))
            note(" · ".join(summary))
            for policy in answer.policies:
                warn(f"policy {policy}")
        if save_view:
            from awares_edge.apps.view import answer_panel, save_png

            save_png(answer_panel(picture, question, answer), save_view)
            if not json:
                note(f"view written to {save_view}")


def _crop_ids(text: str) -> tuple[str, ...]:
    """Ids of `--crops`: "0,5" or "all"."""
    ids = tuple(part.strip() for part in text.split(","))
    if not all(ids) or ("all" in ids and len(ids) > 1) or len(set(ids)) < len(ids):
        raise InputError(f"--crops {text!r} does not name crops: give ids such as 0,5, or all")
    return ids


def _stream(picture: Picture, question: str, options: AskOptions) -> Answer:
    for event in picture.stream(question, options):
        if isinstance(event, TextDelta):
            show_answer(event.text, end="")
        elif isinstance(event, ReasoningDelta):
            note(event.text)
        elif isinstance(event, CropsRequested):
            note(f"looking closer: {', '.join(crop.name for crop in event.crops)}")
        else:
            show_answer("")
            return event
    raise AssertionError("a stream ends with its answer")
