"""`awares-edge ask`: one or several questions about one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from awares_edge.apps import ask_options as o
from awares_edge.apps.console import note, print_json, show_answer
from awares_edge.apps.options import (
    AbstainOption,
    BundleOption,
    ContextOption,
    DecisionBiasOption,
    DeviceOption,
    EndpointModel,
    EndpointUrl,
    MaxNewTokensOption,
    ModelOptions,
    ModeName,
    ModeOption,
    PictureArgument,
    ProtocolOption,
    RuntimeOption,
    ThreadsOption,
)
from awares_edge.apps.replies import follow, summarize
from awares_edge.controller.askable import OpenPicture
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import Answer
from awares_edge.errors import InputError
from awares_edge.files import check_output
from awares_edge.protocol.prompt import check_question
from awares_edge.vision.load import load_image

EPILOG = """
Examples:

    awares-edge ask photo.jpg "What does the small sign say?"

    awares-edge ask receipt.png "What is the total?" "And the date?" --save-view seen.png

    awares-edge ask map.png "What is the street called?" --mode progressive --max-calls 3

    awares-edge ask chart.png "Which bar is highest?" --json | jq .rtr

    awares-edge ask photo.jpg "What?" --endpoint https://fleet.example/v1 --protocol readme
"""


def ask(
    image: PictureArgument,
    questions: o.Questions,
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    mode: ModeOption = ModeName.awares,
    protocol: ProtocolOption = None,
    follow_up: o.FollowUp = True,
    max_calls: o.MaxCalls = None,
    max_crops: o.MaxCrops = None,
    max_rtr: o.MaxRtr = None,
    on_invalid_call: o.OnInvalidCall = o.InvalidCallName.protocol,
    on_too_many_crops: o.OnTooManyCrops = o.TooManyName.keep_first,
    crops: o.Crops = None,
    decision_bias: DecisionBiasOption = None,
    abstain_below: AbstainOption = None,
    max_new_tokens: MaxNewTokensOption = None,
    timeout: o.Timeout = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    endpoint: EndpointUrl = None,
    model_name: EndpointModel = None,
    json: o.Json = False,
    stream: o.Stream = False,
    save_view: o.SaveView = None,
) -> None:
    """Ask one or several questions about one picture."""
    if json and stream:
        raise InputError("--json prints its result at the end: leave --stream out")
    for question in questions:
        check_question(question)
    o.check_limits(mode, max_calls, max_crops, max_rtr)
    options = AskOptions(
        mode=mode.value,
        max_new_tokens=max_new_tokens,
        max_calls=max_calls,
        timeout=timeout,
        policies=o.policies(on_invalid_call, max_crops, on_too_many_crops, max_rtr, abstain_below),
        crops=() if crops is None else o.crop_ids(crops),
        decision_bias=decision_bias,
    )
    if save_view:
        check_output(save_view)
    chosen = ModelOptions(bundle, runtime, protocol, device, threads, context, endpoint, model_name)
    # Opened before the model is loaded, so that a bad picture is reported at once.
    pixels = load_image(image)
    with chosen.open() as model, model.open(pixels) as picture:
        answers = _answers(picture, questions, options, follow_up, stream=stream, quiet=json)
        if json:
            _print_json(answers)
        if save_view:
            _save_view(picture, questions, answers, save_view)
            if not json:
                note(f"view written to {save_view}")


def _answers(
    picture: OpenPicture,
    questions: Sequence[str],
    options: AskOptions,
    follow_up: bool,
    *,
    stream: bool,
    quiet: bool,
) -> list[Answer]:
    """Ask one question after the other; with `follow_up` each sees those before it."""
    answers: list[Answer] = []
    for question in questions:
        following = replace(options, follow_up=follow_up and bool(answers))
        answers.append(_answer(picture, question, following, stream=stream, quiet=quiet))
    return answers


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


def _print_json(answers: Sequence[Answer]) -> None:
    """One object for one answer, an array for several."""
    rows = [answer.to_dict() for answer in answers]
    print_json(rows if len(rows) > 1 else rows[0])


def _save_view(
    picture: OpenPicture, questions: Sequence[str], answers: Sequence[Answer], path: Path
) -> None:
    from awares_edge.apps.view import answer_panel, save_png, sheet

    pairs = zip(questions, answers, strict=True)
    save_png(sheet([answer_panel(picture, *pair) for pair in pairs], columns=1), path)
