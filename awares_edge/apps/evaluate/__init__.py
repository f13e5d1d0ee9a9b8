"""`awares-edge evaluate`: measure a model on data whose answers are known."""

from __future__ import annotations

from pathlib import Path

from awares_edge.apps.evaluate import options as o
from awares_edge.apps.evaluate.finished import compare_folders, merge_folders
from awares_edge.apps.evaluate.suites import RunOptions, run_suites
from awares_edge.apps.evaluate.synth import run_synth
from awares_edge.apps.options import (
    BundleOption,
    DeviceOption,
    EndpointModel,
    EndpointUrl,
    JsonOption,
    ModelOptions,
    ProtocolOption,
    RuntimeOption,
    ThreadsOption,
    refuse,
)
from awares_edge.errors import InputError
from awares_edge.evaluation.suites import open_suites

EPILOG = """
Examples:

    awares-edge evaluate chartqa --bundle awares-7b --modes awares,full,low -o results

    awares-edge evaluate all --data ./benchmarks --bundle awares-7b -o results --resume

    awares-edge evaluate questions.jsonl --bundle awares-7b -o mine

    awares-edge evaluate synth --all-modes

    awares-edge evaluate synth --capture medium --limit 400

    awares-edge evaluate chartqa --endpoint http://gpu:8000/v1 --protocol readme -o fleet

    awares-edge evaluate --compare results-fp16 results-q4
"""


def evaluate(
    what: o.What = None,
    data: o.Data = None,
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    mode: o.Mode = None,
    modes: o.Modes = None,
    all_modes: o.AllModes = False,
    limit: o.Limit = None,
    shard: o.Shard = None,
    resume: o.Resume = False,
    workers: o.Workers = None,
    scorer: o.ScorerOption = None,
    output: o.Output = None,
    protocol: ProtocolOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    endpoint: EndpointUrl = None,
    model_name: EndpointModel = None,
    seed: o.Seed = None,
    split: o.SplitOption = None,
    family: o.Family = None,
    control: o.Control = None,
    capture: o.CaptureOption = None,
    no_rectify: o.NoRectify = False,
    save: o.Save = None,
    picture: o.PictureOption = None,
    compare: o.Compare = None,
    merge: o.Merge = None,
    json: JsonOption = False,
) -> None:
    """Measure a model on questions with known answers: accuracy, visual tokens, calls, latency."""
    if compare or merge:
        return _use_finished(what, compare, merge, output, json=json)
    if what is None:
        raise InputError(f"name what to evaluate: {o.WHAT}")
    model = ModelOptions(
        bundle, runtime, protocol, device, threads, endpoint=endpoint, model=model_name
    )
    chosen = o.chosen_modes(mode, modes, all_modes)
    drawn = o.synth_options(what, split, seed, limit, family, control, capture, no_rectify)
    if drawn and output is None:
        unused = {"data": data, "shard": shard, "workers": workers, "scorer": scorer}
        refuse("needs a folder for the results (-o)", **unused, resume=resume)
        return run_synth(model, chosen, drawn, save, picture, json=json)
    refuse("is not used: the results hold every question's outcome", save=save)
    options = RunOptions(
        limit=None if drawn else limit,
        shard=shard,
        resume=resume,
        workers=1 if workers is None else workers,
        scorer=o.get_scorer(scorer),
        picture=picture,
    )
    root = output or Path("awares-evaluation")
    suites = open_suites(what, data, drawn.suite() if drawn else None)
    return run_suites(suites, chosen, model, root, options, json=json)


def _use_finished(
    what: str | None,
    compare: tuple[Path, Path] | None,
    merge: list[Path] | None,
    output: Path | None,
    *,
    json: bool,
) -> None:
    """Compare or merge results that are there already.

    Raises:
        InputError: both are wanted, or there is something to evaluate too.
    """
    if what or (compare and merge):
        raise InputError("--compare and --merge ask nothing: give only one of them")
    if compare:
        return compare_folders(*compare, json=json)
    return merge_folders(merge or [], output, json=json)
