"""The published scorers: lmms-eval's own functions, imported without its forty dependencies.

    pip install --no-deps lmms-eval==0.7.3 loguru

Version 0.7.3 holds the rules that are called "0.7.2" here; those of "0.6.1" are put together from
its parts (its filters have not changed since).
"""

import importlib
import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest


def scorers():
    """(benchmark, version) to a function of (prediction, references, facts); skips without it."""
    pytest.importorskip("loguru")
    _prepare()
    with _unused_packages():
        utils = {
            name: importlib.import_module(f"lmms_eval.tasks.{folder}.utils")
            for name, folder in (
                *((n, n) for n in ("chartqa", "docvqa", "ocrbench", "pope", "realworldqa")),
                ("vstar", "vstar_bench"),
            )
        }
        metrics = importlib.import_module("lmms_eval.api.metrics")
    return {
        ("chartqa", "0.7.2"): lambda p, r, f: utils["chartqa"].chartqa_process_results(
            {**f, "answer": r[0]}, [p]
        )["relaxed_overall"],
        ("docvqa", "0.7.2"): lambda p, r, f: metrics.anls(r, [p])["anls"],
        ("ocrbench", "0.7.2"): lambda p, r, f: utils["ocrbench"].ocrbench_process_results(
            {**f, "answer": list(r)}, [p]
        )["ocrbench_accuracy"]["score"],
        ("pope", "0.7.2"): lambda p, r, f: utils["pope"].pope_process_results(
            {"answer": r[0], "question_id": "1"}, [p]
        )["pope_accuracy"]["score"],
        ("realworldqa", "0.7.2"): lambda p, r, f: utils["realworldqa"].realworldqa_process_results(
            {"answer": r[0]}, [p]
        )["exact_match"],
        ("realworldqa", "0.6.1"): lambda p, r, f: _real_world_0_6_1(utils["realworldqa"], p, r, f),
        ("vstar", "0.7.2"): lambda p, r, f: utils["vstar"].vstar_process_results(
            {"label": r[0], "question_id": "1", "text": "", "category": "c"}, [p]
        )["vstar_overall_acc"]["score"],
    }


def _prepare():
    """Let its modules be imported without running its packages, which import everything."""
    if "lmms_eval" in sys.modules:
        return
    spec = importlib.util.find_spec("lmms_eval")
    if spec is None or spec.origin is None:
        pytest.skip("lmms-eval is not installed")
    root = Path(spec.origin).parent
    for name in ("lmms_eval", "lmms_eval.api", "lmms_eval.filters", "lmms_eval.tasks"):
        sys.modules[name] = package = ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]


@contextmanager
def _unused_packages():
    """Stand in for packages that its modules import and these functions never use."""
    names = [
        name
        for name in ("datasets", "sacrebleu", "evaluate", "pytz")
        if name not in sys.modules and importlib.util.find_spec(name) is None
    ]
    for name in names:
        sys.modules[name] = stub = ModuleType(name)
        stub.Dataset = object
    try:
        yield
    finally:
        for name in names:  # other tests ask whether the real ones are installed
            del sys.modules[name]


def prompts():
    """Benchmark to lmms-eval's prompt of a row, with the suffix of its YAML file."""
    scorers()
    from lmms_eval.tasks.chartqa.utils import chartqa_doc_to_text
    from lmms_eval.tasks.docvqa.utils import docvqa_doc_to_text
    from lmms_eval.tasks.ocrbench.utils import ocrbench_doc_to_text
    from lmms_eval.tasks.pope.utils import pope_doc_to_text
    from lmms_eval.tasks.realworldqa.utils import realworldqa_doc_to_text
    from lmms_eval.tasks.vstar_bench.utils import vstar_doc_to_text

    return {
        "chartqa": lambda row: chartqa_doc_to_text(row, _suffix("chartqa/chartqa.yaml")),
        "docvqa": lambda row: docvqa_doc_to_text(row, _suffix("docvqa/docvqa.yaml")),
        "ocrbench": lambda row: ocrbench_doc_to_text(row, _suffix("ocrbench/ocrbench.yaml")),
        "pope": lambda row: pope_doc_to_text(row, _suffix("pope/pope.yaml")),
        "realworldqa": lambda row: realworldqa_doc_to_text(
            row, _suffix("realworldqa/realworldqa.yaml")
        ),
        "vstar": lambda row: vstar_doc_to_text(row, _suffix("vstar_bench/vstar_bench.yaml")),
    }  # fmt: skip


def _suffix(path):
    """`lmms_eval_specific_kwargs.default` of a task's YAML file, or of the template beside it."""
    folder = Path(sys.modules["lmms_eval.tasks"].__path__[0], path).parent
    template = [p for p in folder.iterdir() if p.name.startswith("_default")]
    for file in (folder / Path(path).name, *template):
        lines = file.read_text().splitlines()
        if "lmms_eval_specific_kwargs:" in lines:
            at = lines.index("lmms_eval_specific_kwargs:") + 2
            pairs = [line.strip().split(": ", 1) for line in lines[at : at + 2]]
            return {key: value.strip('"').replace("\\n", "\n") for key, value in pairs}
    raise AssertionError(f"{path} has no default prompt")


def _real_world_0_6_1(utils, prediction, references, facts):
    """v0.6.1's pipeline: number words, then option texts, then equality."""
    (digits,) = utils.NumberWordsToDigitsFilter().apply([[prediction]], [facts])
    choice = utils.MultiChoiceRegexFilter(
        group_select=0, ignore_case=True, ignore_punctuation=True, regex_pattern=r"(\([A-Z]\))"
    )
    (letter,) = choice.apply([digits], [facts])
    return float(letter.lower().strip().rstrip(".") == references[0].lower().strip())
