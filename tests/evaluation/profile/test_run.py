"""A run, its summary, its page, and two runs compared."""

import json

import numpy as np
import pytest

from awares_edge.errors import AwaresError, InputError
from awares_edge.evaluation.profile.compare import compare_runs, read_run
from awares_edge.evaluation.profile.compare_report import comparison_html
from awares_edge.evaluation.profile.report import run_html
from awares_edge.evaluation.profile.run import in_process, pinned
from awares_edge.evaluation.profile.summary import phase_name, quantiles
from tests.evaluation.pages import check_page, check_rendered


def test_a_run_carries_its_provenance_and_its_raw_rows(run):
    assert (run["format"], run["version"]) == ("awares-edge-profile", 1)
    assert set(run["versions"]) >= {"awares-edge", "numpy", "onnxruntime", "python"}
    assert set(run["machine"]) >= {"cpu", "cores", "governor", "power_mode", "memory_mb"}
    assert run["limits"]["1"]["fp32_flops"] > 0
    awares, full = run["variants"]
    assert len(awares["rows"]) == len(full["rows"]) == 3
    assert awares["memory"]["peak"] >= awares["memory"]["loaded"] > 0
    assert awares["load_ms"] > 0
    assert len(awares["manifest_sha256"]) == 64
    text = json.dumps(run)
    assert json.dumps(json.loads(text)) == text


def test_each_variant_stays_on_its_processors(run):
    assert len(run["variants"][0]["job"]["cpus"]) == 1
    assert pinned(None) == ()
    assert pinned(10_000) == ()


def test_a_summary_is_of_the_rows(run):
    for variant in run["variants"]:
        totals = [row["total_ms"] for row in variant["rows"]]
        total = variant["summary"]["figures"]["total_ms"]
        assert total["p50"] == pytest.approx(np.median(totals))
        assert total["p50"] <= total["p90"] <= total["p99"] <= max(totals)
        for phase in variant["summary"]["phases"]:
            assert 0 < phase["p50"] <= phase["p99"]
    names = [(p["turn"], p["phase"]) for p in run["variants"][0]["summary"]["phases"]]
    assert names == [
        (1, "preprocess"), (1, "vision"), (1, "prefill"), (1, "call"),
        (2, "crop preprocess"), (2, "crop vision"), (2, "append"), (2, "decode"),
    ]  # fmt: skip
    for phase in run["variants"][0]["summary"]["phases"]:
        assert (phase["share_of_limit"] is None) == ("preprocess" in phase["phase"])


def test_sustained_goes_on_after_the_rows(run):
    found = run["variants"][0]["summary"]["sustained"]
    assert found["questions"] == len(run["variants"][0]["sustained"]) > 0
    assert found["first_ms"] > 0
    assert run["variants"][1]["summary"]["sustained"] is None


@pytest.mark.parametrize(
    ("phase", "turn", "turns", "name"),
    [
        ("decode", 1, 1, "decode"), ("decode", 1, 3, "call"), ("decode", 2, 3, "call"),
        ("decode", 3, 3, "decode"), ("prefill", 1, 3, "prefill"), ("prefill", 3, 3, "append"),
        ("vision", 2, 3, "crop vision"),
    ],
)  # fmt: skip
def test_phases_have_the_names_that_people_use(phase, turn, turns, name):
    assert phase_name(phase, turn, turns) == name


def test_quantiles_of_what_is_there():
    assert quantiles([None, None]) is None
    assert quantiles([1.0, None, 3.0])["p50"] == 2.0


def test_the_page_is_whole_and_says_how_it_was_measured(run):
    text = check_page(run_html(run))
    for words in ("power mode", "CPU governor", "noise, 224 × 224 pixels", "fp32 GFLOP/s",
                  "no energy sensor" if not run["variants"][0]["energy"]["source"] else "joules",
                  "Sustained:"):  # fmt: skip
        assert words in text


def test_every_figure_of_the_page_is_in_the_run(run):
    """The medians of the table, to the digit."""
    text = check_page(run_html(run))
    for variant in run["variants"]:
        for phase in variant["summary"]["phases"]:
            assert f"{phase['p50']:.3f} {phase['p90']:.3f} {phase['p99']:.3f}" in text


def test_heat_and_energy_are_drawn_where_they_were_measured(run):
    changed = json.loads(json.dumps(run))
    first = changed["variants"][0]
    first["energy"] = {"source": "RAPL, 1 package", "joules": 6.0, "per_question": 2.0}
    for sample in first["sustained"]:
        sample |= {"celsius": 60.0, "throttled": 3}
    first["summary"]["sustained"] |= {"celsius": {"first": 60.0, "max": 60.0}, "throttled": 0}
    text = check_page(run_html(changed))
    assert "2 J" in text
    assert "throttled: 0 times" in text


def test_a_browser_draws_it(run, tmp_path):
    path = tmp_path / "profile.html"
    path.write_text(run_html(run))
    check_rendered(path)


class TestComparison:
    def slower(self, run):
        new = json.loads(json.dumps(run))
        for variant in new["variants"]:
            for quantile in variant["summary"]["figures"]["total_ms"]:
                variant["summary"]["figures"]["total_ms"][quantile] *= 10
        new["machine"]["governor"] = "powersave"
        new["versions"]["numpy"] = "99"
        return new

    def test_ratios_by_variant(self, run):
        found = compare_runs(run, self.slower(run))
        assert [variant["mode"] for variant in found["variants"]] == ["awares", "full"]
        for variant in found["variants"]:
            question, *others = variant["changes"]
            assert question["ratio"] == pytest.approx(10)
            assert question["beyond_spread"]
            assert {change["ratio"] for change in others} == {1.0}
            assert not any(change["beyond_spread"] for change in others)
        assert found["machine_differs"]["governor"][1] == "powersave"
        assert found["versions_differ"]["numpy"][1] == "99"

    def test_the_page(self, run):
        text = check_page(comparison_html(compare_runs(run, self.slower(run))))
        assert "10.000" in text
        assert "powersave" in text

    def test_runs_without_a_variant_in_common_are_refused(self, run):
        other = json.loads(json.dumps(run))
        for variant in other["variants"]:
            variant["job"]["answer_tokens"] = 99
        with pytest.raises(InputError, match="no variant in common"):
            compare_runs(run, other)

    def test_a_damaged_run_is_refused(self, run):
        for key in ("variants", "machine", "versions", "started"):
            with pytest.raises(InputError, match="damaged"):
                compare_runs(run, {k: v for k, v in run.items() if k != key})

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"format": "awares-edge-pro', "not whole JSON"),
            ("[]", "is not a profile"),
            ('{"format": "other"}', "is not a profile"),
            ('{"format": "awares-edge-profile", "version": 9}', "format version 9"),
        ],
    )
    def test_a_file_that_is_no_run_is_refused(self, tmp_path, text, message):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_run(tmp_path / "run.json")


def test_a_process_that_fails_is_one_error(tmp_path):
    from tests.evaluation.profile.conftest import job

    task = {"what": "measure", **job(crops=("9",)).to_dict()}
    with pytest.raises(InputError, match=r"not a set of crop ids: .*'9'"):
        in_process(task, 1, lambda *_: None)


def test_a_process_that_is_killed_is_one_error(monkeypatch):
    from awares_edge.evaluation.profile import run as module

    def killed(process, *_):
        process.kill()

    monkeypatch.setattr(module, "_follow", killed)
    with pytest.raises(AwaresError, match="killed the measuring process, most likely for memory"):
        in_process({}, 1, lambda *_: None)


def test_a_process_that_dies_is_one_error():
    with pytest.raises(AwaresError, match="the measuring process ended with 1: KeyError"):
        in_process({}, 1, lambda *_: None)
