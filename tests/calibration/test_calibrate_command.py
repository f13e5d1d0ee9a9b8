"""`awares-edge calibrate`: fits on a bundle, and writes its manifest whole or not at all."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import Bundle
from awares_edge.api import embedded_bundle
from awares_edge.apps.calibrate import confidence, decisions
from awares_edge.apps.cli import main
from awares_edge.bundle.limits import LIMITS
from awares_edge.calibration.confidence import Answered
from awares_edge.calibration.outcomes import Measured, Way
from awares_edge.calibration.questions import held_out_questions
from awares_edge.calibration.reference import ask_reference, read_reference
from awares_edge.calibration.stored import store
from awares_edge.errors import BundleError, InputError
from awares_edge.spec import MANIFEST_NAME
from tests.bundle.test_version1 import OLD

MARGINS = np.arange(-100, 100) + 0.5


@pytest.fixture
def bundle(tmp_path):
    shutil.copytree(embedded_bundle(), tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def known(monkeypatch):
    """Replaces what a model would have to be asked for: half of the questions want a call."""

    def measure(questions, model, progress):
        progress(len(questions))
        direct, call = Way(False, 0.25, 50.0), Way(True, 0.5, 150.0)
        chosen = np.resize(MARGINS, len(questions))
        return [Measured(float(margin), direct, call) for margin in chosen]

    def ask_all(questions, model, progress):
        right = [Answered("word", -0.05, True)] * 80
        return [*right, *[Answered("word", -0.05, False)] * 20, Answered("yes", -0.1, True)]

    monkeypatch.setattr(decisions, "measure", measure)
    monkeypatch.setattr(confidence, "ask_all", ask_all)


def run(capsys, *arguments):
    """Exit code, and what was printed on stdout and stderr."""
    code = main(["calibrate", *map(str, arguments)])
    return code, *capsys.readouterr()


def contents(root):
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_the_bias_is_stored_shown_and_used(bundle, known, capsys):
    before = contents(bundle)
    code, out, err = run(capsys, "decisions", bundle, "--target-rtr", "0.3", "--limit", "200")
    assert code == 0
    assert "fitted to a mean RTR of 0.3 on 200 questions" in out
    assert max(map(len, out.splitlines())) <= 80
    assert f"stored in {bundle / MANIFEST_NAME}" in err
    after = contents(bundle)
    assert after.pop(MANIFEST_NAME) != before.pop(MANIFEST_NAME)
    assert after == before
    fitted = Bundle.open(bundle).manifest.calibration
    assert (fitted.decision_bias, fitted.decision_questions) == (-60.0, 200)
    with awares_edge.load(bundle) as model:
        assert model.calibration == fitted
    assert main(["inspect", str(bundle)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "-60.000, fitted to a mean RTR of 0.3 on 200" in shown
    assert main(["inspect", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["decision_bias"] == -60.0


def test_a_dry_run_changes_nothing(bundle, known, capsys):
    before = contents(bundle)
    goal = ("--deadline-ms", "100", "--limit", "200", "--dry-run")
    code, out, err = run(capsys, "decisions", bundle, *goal, "--json")
    result = json.loads(out)
    assert (code, err, result["applied"]) == (0, "", False)
    assert result["before"]["call_rate"] == 0.5
    assert result["after"]["ms_p90"] <= 100 < result["before"]["ms_p90"]
    assert [point["call_rate"] for point in result["curve"]][-1] == 1.0
    assert contents(bundle) == before


def test_temperatures_are_stored_beside_the_bias(bundle, known, capsys):
    run(capsys, "decisions", bundle, "--target-rtr", "0.3", "--limit", "200")
    code, _, err = run(capsys, "confidence", bundle, "--limit", "6")
    assert code == 0
    assert "yes/no, count, colour: not fitted" in err
    fitted = Bundle.open(bundle).manifest.calibration
    assert fitted.decision_bias == -60.0
    assert fitted.text_temperature > 1.5
    assert (fitted.closed_temperature, fitted.confidence_questions) == (1.0, 101)
    # 80% are right, and the confidence says so.
    assert fitted.confidence(-0.05, "word") == pytest.approx(0.8, abs=0.001)


def test_a_bundle_of_format_version_1_gets_the_present_one(bundle):
    path = bundle / MANIFEST_NAME
    path.write_text(OLD)
    opened = Bundle.open(bundle, verify=False)
    assert opened.manifest.calibration is None
    store(opened, decision_bias=1.0)
    assert json.loads(path.read_text())["version"] == 2
    again = Bundle.open(bundle, verify=False).manifest
    assert again.calibration.decision_bias == 1.0
    assert again.protocol_sha256 == opened.manifest.protocol_sha256


def test_another_profile_is_asked_without_the_calibration(bundle):
    store(Bundle.open(bundle), decision_bias=1.0)
    with awares_edge.load(bundle, protocol="paper") as model:
        assert model.calibration.decision_bias == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decisions"], "give one of --reference, --target-rtr and --deadline-ms"),
        (["decisions", "--target-rtr", "0.3", "--deadline-ms", "9"], "give one of"),
        (["decisions", "--target-rtr", "nan"], "--target-rtr must be a finite number above 0"),
        (["decisions", "--deadline-ms", "0"], "--deadline-ms must be a finite number above 0"),
        (["decisions", "--target-rtr", "0.3", "--limit", "60"], "there are 60: give 40 more"),
        (["decisions", "--target-rtr", "0.9", "--limit", "100"], "0.9 cannot be reached"),
        (["decisions", "--deadline-ms", "9", "--limit", "100"], "9 ms cannot be reached"),
        (["decisions", "--target-rtr", "0.3", "--save-reference", "r"], "needs --reference"),
        (["decisions", "--reference", "nowhere/at/all", "--limit", "100"], "no such checkpoint"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    bundle, known, capsys, arguments, message
):
    before = contents(bundle)
    command, *options = arguments
    code, out, err = run(capsys, command, bundle, *options)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert contents(bundle) == before


def test_a_folder_that_cannot_be_written_is_found_out_first(bundle, capsys):
    target = bundle.with_name("elsewhere.json")
    (bundle / MANIFEST_NAME).rename(target)
    (bundle / MANIFEST_NAME).symlink_to(target)
    code, _, err = run(capsys, "decisions", bundle, "--target-rtr", "0.3")
    assert code == 2
    assert "symbolic link" in err


def test_a_calibration_of_other_files_or_another_profile_is_refused(bundle):
    store(Bundle.open(bundle), decision_bias=1.0)
    path = bundle / MANIFEST_NAME
    good = json.loads(path.read_text())
    for name in ("protocol_sha256", "files_sha256"):
        body = json.loads(path.read_text())
        body["calibration"][name] = "0" * 64
        path.write_text(json.dumps(body))
        with pytest.raises(BundleError, match="is of another checkpoint or profile"):
            Bundle.open(bundle)
        path.write_text(json.dumps(good))
    Bundle.open(bundle)


CALIBRATION = [name for name in LIMITS if name.startswith("calibration.")]


@pytest.mark.parametrize("name", CALIBRATION)
@pytest.mark.parametrize("value", [1e300, -1, "x" * 500, None, [], float("nan")])
def test_values_out_of_range_are_refused_and_named(bundle, name, value):
    store(Bundle.open(bundle), decision_bias=1.0)
    path, field = bundle / MANIFEST_NAME, name.split(".")[1]
    body = json.loads(path.read_text())
    if field == "decision_bias" and value == -1:
        value = -1e5
    body["calibration"][field] = value
    path.write_text(json.dumps(body))
    with pytest.raises(BundleError, match=f"{field}|NaN"):
        Bundle.open(bundle, verify=False)


def test_what_the_manifest_would_refuse_is_not_written(bundle):
    before = contents(bundle)
    with pytest.raises(BundleError, match="decision_bias must be a number between"):
        store(Bundle.open(bundle), decision_bias=1e9)
    assert contents(bundle) == before


# References.


@pytest.fixture(scope="module")
def asked():
    return held_out_questions(6)


def test_decisions_of_a_bundle_are_saved_and_read_back(bundle, asked, tmp_path):
    opened = Bundle.open(bundle)
    found = ask_reference(str(embedded_bundle()), opened, asked, threads=1)
    assert set(found.calls) == {True, False}
    found.save(tmp_path / "reference.json")
    assert read_reference(tmp_path / "reference.json", opened, asked) == found
    # The same questions about other pictures are others too.
    blank = [replace(one, image=Image.new("RGB", (224, 224))) for one in asked]
    for others in (asked[1:], blank):
        with pytest.raises(InputError, match="was measured on other questions"):
            read_reference(tmp_path / "reference.json", opened, others)


def test_a_reference_of_another_model_or_profile_is_refused(bundle, asked, tmp_path):
    path = tmp_path / "reference.json"
    ask_reference(str(embedded_bundle()), Bundle.open(bundle), asked, threads=1).save(path)
    for field, message in (
        ("model_sha256", "is of a model of another shape"),
        ("profile_sha256", "was measured under another profile"),
    ):
        body = json.loads(path.read_text())
        body[field] = "0" * 64
        (tmp_path / "other.json").write_text(json.dumps(body))
        with pytest.raises(InputError, match=message):
            read_reference(tmp_path / "other.json", Bundle.open(bundle), asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "lacks the field"),
        ('{"format": 3}', "format must be of type str"),
        ('{"calls": NaN}', "NaN"),
        ("\udcff", "is not UTF-8 text"),
    ],
)
def test_files_of_another_kind_are_refused(bundle, asked, tmp_path, text, message):
    path = tmp_path / "reference.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        read_reference(path, Bundle.open(bundle), asked)


def test_the_reference_must_zoom_into_the_same_pictures(bundle, asked):
    found = ask_reference(str(embedded_bundle()), Bundle.open(bundle), asked, threads=1)
    with pytest.raises(InputError, match="cannot zoom into the same pictures"):
        found.call_rate([False] * 6)


# The real model.


def test_questions_of_a_file(bundle, tmp_path, capsys):
    Image.new("RGB", (224, 224), "white").save(tmp_path / "a.png")
    row = {"image": "a.png", "question": "What is written here?"}
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n")
    code, _, err = run(capsys, "confidence", bundle, tmp_path / "q.jsonl", "--threads", "1")
    assert code == 2
    assert 'question 1 has no answer to compare with: add "answer"' in err


@pytest.mark.slow
def test_nano_meets_a_target_on_questions_it_was_not_fitted_on(bundle, capsys):
    """Fitted on the validation split, checked on the test split."""
    from awares_edge.evaluation.synthetic import evaluate

    options = ("--target-rtr", "0.34", "--limit", "800", "--threads", "1", "--json")
    code, out, _ = run(capsys, "decisions", bundle, *options)
    assert code == 0
    assert json.loads(out)["after"]["rtr"] == pytest.approx(0.34, abs=0.002)
    with awares_edge.load(bundle, threads=1) as model:
        report = evaluate(model, "awares", limit=800).to_dict()
    # 95% of differences between two samples of 800 are within this.
    assert report["rtr"] == pytest.approx(0.34, abs=2 * 0.12 * (2 / 800) ** 0.5)


@pytest.mark.slow
def test_nano_calls_as_often_as_its_checkpoint(bundle, capsys):
    pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    options = ("--reference", "checkpoints/nano", "--limit", "100", "--threads", "1", "--json")
    code, out, _ = run(capsys, "decisions", bundle, *options)
    result = json.loads(out)
    assert code == 0
    assert result["after"]["call_rate"] == pytest.approx(result["reference_call_rate"], abs=0.01)
