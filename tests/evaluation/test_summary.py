"""Sums of runs against computations of their own, and the pages made of them."""

import json
import math
import statistics
from fractions import Fraction
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks import BENCHMARKS, get_benchmark
from awares_edge.evaluation.intervals import mcnemar, of_mean
from awares_edge.evaluation.paper import PAPER
from awares_edge.evaluation.predictions import score_file
from awares_edge.evaluation.run.compare import compare
from awares_edge.evaluation.run.gallery import write_gallery
from awares_edge.evaluation.run.results import write_results
from awares_edge.evaluation.suites import PublishedSuite
from tests.evaluation.test_run import run
from tests.support import published

HOSTILE = "<script>alert(1)</script>|`\x1b[2J"


def test_the_papers_means_are_those_of_its_scores():
    for row in PAPER.values():
        assert list(row.scores) == list(BENCHMARKS)
        assert statistics.mean(row.scores.values()) == pytest.approx(row.mean, abs=0.1)


def test_mcnemar_is_the_exact_binomial_test():
    for b, c in [(0, 0), (1, 0), (3, 9), (9, 3), (5, 5), (40, 61)]:
        n, k = b + c, min(b, c)
        tail = sum(Fraction(math.comb(n, i), 2**n) for i in range(k + 1))
        assert mcnemar(b, c) == pytest.approx(float(min(1, 2 * tail)), rel=1e-12)
    normal = math.erfc((400 - 1) / math.sqrt(2 * 8400))  # with continuity correction
    assert mcnemar(4000, 4400) == pytest.approx(normal, rel=0.01)


def test_an_interval_of_a_mean_is_the_textbooks():
    values = [0.0, 0.5, 1.0, 1.0, 0.7]
    half = 1.959964 * statistics.stdev(values) / math.sqrt(5)
    assert of_mean(values) == pytest.approx((0.64 - half, 0.64 + half))
    assert of_mean([1.0]) == (-math.inf, math.inf)


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return [
        PublishedSuite(
            get_benchmark(name), published.write(folder / name, name, published.rows(name, 6))
        )
        for name in BENCHMARKS
    ]


@pytest.fixture
def results(suites, answering, tmp_path):
    """All six benchmarks in two modes."""
    for suite in suites:
        for mode in ("awares", "full"):
            with answering("GET_CROPS: ['2']" if mode == "awares" else "no", "yes") as model:
                run(tmp_path, suite, model, mode)
    return tmp_path


def rows(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_numbers_follow_from_the_rows(results):
    summary, timing = write_results(results)
    assert [(r["suite"], r["mode"]) for r in summary["runs"]] == [
        (name, mode) for name in BENCHMARKS for mode in ("awares", "full")
    ]
    for numbers, times in zip(summary["runs"], timing["runs"], strict=True):
        found = rows(results / numbers["suite"] / numbers["mode"])
        mean = np.mean([row["score"] for row in found])
        assert numbers["score"] == pytest.approx(mean, abs=1e-4)
        assert numbers["rtr"] == pytest.approx(np.mean([r["rtr"] for r in found]), abs=1e-4)
        assert numbers["direct_share"] == np.mean([not r["crops"] for r in found])
        assert numbers["paper"] == PAPER[numbers["mode"]].scores[numbers["suite"]]
        assert times["ms_p50"] == pytest.approx(np.median([r["ms"] for r in found]), abs=0.01)
        low, high = numbers["score_ci"]
        assert 0 <= low <= numbers["score"] <= high <= 1
    for mode, mean in summary["means"].items():
        scores = [r["score"] for r in summary["runs"] if r["mode"] == mode]
        assert mean["score"] == pytest.approx(np.mean(scores), abs=1e-4)


def test_the_page_has_the_papers_table_and_every_run(results):
    write_results(results)
    page = (results / "summary.md").read_text()
    assert "|  | ChartQA | DocVQA | OCRBench | POPE | RealWorldQA | V* | mean | RTR |" in page
    assert "| 80.64 | 94.43 | 81.30 | 85.73 | 68.50 | 71.20 | 80.30 | 0.36 |" in page
    assert page.count("| awares |") == page.count("| full |") == 6


def test_times_are_kept_out_of_the_summary(results):
    write_results(results)
    before = (results / "summary.json").read_bytes()
    for path in results.rglob("rows.jsonl"):
        lines = [json.dumps({**json.loads(x), "ms": 9.5}) for x in path.read_text().splitlines()]
        path.write_text("\n".join(lines) + "\n")
    write_results(results)
    assert (results / "summary.json").read_bytes() == before
    assert json.loads((results / "timing.json").read_text())["runs"][0]["ms_p50"] == 9.5


def test_an_incomplete_run_is_called_so(results):
    path = results / "vstar" / "full" / "rows.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    summary, _ = write_results(results)
    assert [r["suite"] for r in summary["runs"] if not r["complete"]] == ["vstar"]
    assert "4 (incomplete)" in (results / "summary.md").read_text()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_rows_can_be_scored_again(name, results):
    path = results / name / "awares" / "rows.jsonl"
    scored = [row.score for _, row in score_file(path, get_benchmark(name), "0.7.2")]
    assert scored == [row["score"] for row in rows(path.parent)]


# Comparison.


def answers(root, suite, answering, *replies):
    with answering(*replies) as model:
        run(root, suite, model, "low")
    return root


def test_two_runs_are_compared_question_by_question(suites, answering, tmp_path):
    suite = suites[list(BENCHMARKS).index("pope")]  # yes, no, yes, no, yes, no
    yes = answers(tmp_path / "yes", suite, answering, "yes")
    right = answers(tmp_path / "right", suite, answering, "yes", "no")
    [found] = compare(yes, right)
    assert (found.suite, found.questions, found.left_out) == ("pope", 6, 0)
    assert (found.first, found.second, found.difference) == (0.5, 1.0, 0.5)
    assert (found.only_first, found.only_second, found.p) == (0, 3, 0.25)
    low, high = found.difference_ci
    half = 1.959964 * statistics.stdev([0, 1, 0, 1, 0, 1]) / math.sqrt(6)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-4)


def test_modes_of_one_folder_can_be_compared(results):
    [found] = compare(results / "pope" / "full", results / "pope" / "awares")
    assert (found.first_mode, found.second_mode) == ("full", "awares")
    assert len(compare(results, results)) == 12


def test_runs_of_other_questions_are_not_compared(results, suites, answering, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    with pytest.raises(InputError, match="has no results"):
        compare(results, other)
    data = published.rows("pope", 5)
    suite = PublishedSuite(get_benchmark("pope"), published.write(other / "x", "pope", data))
    with answering("yes") as model:
        run(other / "out", suite, model, "full")
    with pytest.raises(InputError, match="differ in data"):
        compare(results / "pope" / "full", other / "out")
    with pytest.raises(InputError, match="differ in suite"):
        compare(results / "pope" / "full", results / "vstar" / "full")


# The gallery.


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_the_gallery_needs_no_other_file_and_runs_nothing(suites, results, answering, tmp_path):
    data = published.rows("pope", 6)
    data[0]["question"] = data[1]["id"] = HOSTILE
    suite = PublishedSuite(get_benchmark("pope"), published.write(tmp_path / "h", "pope", data))
    with answering("GET_CROPS: ['2', '5']", HOSTILE, "no") as model:
        run(tmp_path / "out", suite, model)
    path = tmp_path / "gallery.html"
    write_gallery(suite, tmp_path / "out" / "pope" / "awares", path, HOSTILE, each=3)
    page = Page(path.read_text())
    found = rows(tmp_path / "out" / "pope" / "awares")
    hits = sum(row["score"] == 1 for row in found)
    assert f"Hits ({min(3, hits)} shown)" in page.text
    assert f"Misses ({min(3, 6 - hits)} shown)" in page.text
    assert page.tags.count("article") == min(3, hits) + min(3, 6 - hits)
    assert "script" not in page.tags
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    # The picture, and each crop that was sent, of those shown: crops first.
    assert len(page.sources) > page.tags.count("article")
    assert HOSTILE in page.text


def test_crops_are_drawn_where_they_were_cut(suites, answering, tmp_path):
    import base64
    import io

    from PIL import Image

    suite = suites[list(BENCHMARKS).index("pope")]
    with answering("GET_CROPS: ['3']", "yes") as model:
        run(tmp_path, suite, model)
    write_gallery(suite, tmp_path / "pope" / "awares", tmp_path / "g.html", "x", each=1)
    shown, crop, *_ = (
        Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        for source in Page((tmp_path / "g.html").read_text()).sources
    )
    assert shown.size == (224, 224)
    assert crop.size == (112, 112)
    red = np.asarray(shown.convert("RGB")).astype(int)
    edge = red[113, 130:200]  # the upper edge of the bottom-right quarter
    assert (edge[:, 0] - edge[:, 1]).mean() > 80
