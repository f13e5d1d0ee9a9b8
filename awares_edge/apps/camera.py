"""`awares-edge camera`: a model before a camera, on a page in the browser or in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from awares_edge.apps import camera_options as o
from awares_edge.apps import camera_page
from awares_edge.apps.camera_terminal import Terminal
from awares_edge.apps.console import note
from awares_edge.apps.options import (
    AbstainOption,
    BundleOption,
    ContextOption,
    DeviceOption,
    EndpointModel,
    EndpointUrl,
    ModelOptions,
    ProtocolOption,
    RuntimeOption,
    ThreadsOption,
)
from awares_edge.camera.sources import open_source
from awares_edge.camera.sources.registry import SPECS
from awares_edge.camera.station import Station, StationOptions
from awares_edge.controller import Askable
from awares_edge.errors import InputError
from awares_edge.files import check_output_folder
from awares_edge.protocol.prompt import check_question

EPILOG = f"""
Sources: {SPECS}.

Examples:

    awares-edge camera

    awares-edge camera --source 0 --bundle my-bundle

    awares-edge camera --source csi --lan

    awares-edge camera --source 0 --endpoint http://gpu:8000/v1

    awares-edge camera --source rtsp://10.0.0.7/stream --terminal -q "Is the gate open?" --every 5

    printf 'What is the title?\\n' | awares-edge camera --terminal --json
"""

_START_SECONDS = 15.0


def camera(
    source: o.Sources = None,
    question: o.Question = None,
    every: o.Every = 0.0,
    max_age: o.MaxAge = 1.0,
    still: o.Still = False,
    record: o.Record = None,
    terminal: o.InTerminal = False,
    count: o.Count = None,
    json: o.Json = False,
    abstain_below: AbstainOption = None,
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    protocol: ProtocolOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    endpoint: EndpointUrl = None,
    model_name: EndpointModel = None,
    lan: o.Lan = False,
    port: o.Port = 8010,
) -> None:
    """Ask about what a camera sees now: live, zooming only where it must."""
    _check(terminal, question, count, json, lan)
    if record is not None:
        check_output_folder(record)
    sources = tuple(source or ("synthetic",))
    # What does not exist is refused before the model is loaded, which may take minutes.
    for spec in sources:
        open_source(spec)
    options = StationOptions(
        source=sources[0],
        offered=sources[1:],
        every=every,
        max_age_ms=1e3 * max_age,
        record_to=record,
        may_be_still=still,
        abstain_below=abstain_below,
    )
    chosen = ModelOptions(bundle, runtime, protocol, device, threads, context, endpoint, model_name)
    if terminal:
        with chosen.open() as model, _station(model, options) as station:
            Terminal(station, count=count, as_json=json).run(question)
    else:
        _run_page(chosen, options, question, lan, port)


def _run_page(
    chosen: ModelOptions, options: StationOptions, question: str | None, lan: bool, port: int
) -> None:
    """Serve the page until SIGTERM or Ctrl-C."""
    with (
        camera_page.listening(lan, port) as bound,
        camera_page.choices(chosen) as models,
        _station(models.model, options) as station,
    ):
        if question is not None:
            station.ask(question, continuous=True)
        camera_page.serve_page(station, models, bound, lan)
    note("stopped")


def _check(terminal: bool, question: str | None, count: int | None, json: bool, lan: bool) -> None:
    if question is not None:
        check_question(question)
    if terminal and lan:
        raise InputError("--lan serves the page: leave it or --terminal out")
    if not terminal and (json or count is not None):
        raise InputError(f"{'--json' if json else '--count'} is for --terminal")
    if not terminal:
        camera_page.require_page(lan)


@contextmanager
def _station(model: Askable, options: StationOptions) -> Iterator[Station]:
    """A station whose first source sends frames."""
    with Station(model, options) as station:
        # A browser sends frames only once the page is open.
        if options.source != "browser":
            station.wait_ready(_START_SECONDS)
        if options.record_to is not None:
            station.record(True)
        yield station
