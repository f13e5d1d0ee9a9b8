"""`awares-edge score`: saved predictions, scored again."""

import json

import pytest

from awares_edge.apps.cli import main


@pytest.fixture
def score(tmp_path, capsys):
    """Run the command on some lines: (exit code, standard output, standard error)."""

    def run(benchmark, *rows, options=()):
        path = tmp_path / "predictions.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
        code = main(["score", benchmark, str(path), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_one_score_a_line_then_totals(score):
    code, out, err = score(
        "chartqa",
        {"prediction": " 42 ", "references": ["42"], "type": "human_test"},
        {"prediction": "7", "references": "42", "type": "augmented_test"},
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["1", "0"]
    assert "relaxed_overall: 0.5000" in lines
    assert "relaxed_human_split: 1.0000" in lines
    assert lines[-1] == "2 scored, 0 invalid (lmms-eval 0.7.2)"


def test_json_holds_the_same(score):
    row = {"prediction": "three", "references": ["3"], "question": "How many?"}
    for scorer, expected in (("0.6.1", 1.0), ("0.7.2", 0.0)):
        code, out, _ = score("realworldqa", row, options=["--scorer", scorer, "--json"])
        result = json.loads(out)
        assert code == 0
        assert result["scores"] == [expected]
        assert result["totals"] == {"exact_match": expected}
        assert result["scorer"] == scorer


def test_totals_of_pope(score):
    rows = [("yes", "yes"), ("yes", "no"), ("no", "no"), ("no", "yes"), ("perhaps", "yes")]
    _, out, _ = score(
        "pope", *({"prediction": p, "references": [r]} for p, r in rows), options=["--json"]
    )
    totals = json.loads(out)["totals"]
    assert totals["pope_accuracy"] == pytest.approx(0.4)
    assert totals["pope_precision"] == pytest.approx(1 / 2)
    assert totals["pope_recall"] == pytest.approx(1 / 2)
    assert totals["pope_yes_ratio"] == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("7", "not a JSON object"),
        ({"references": ["a"]}, "'prediction' must be text"),
        ({"prediction": "a"}, "'references' must be a list of texts, not missing"),
        ({"prediction": "a", "references": []}, "must be a list of texts"),
        ({"prediction": "a", "references": ["a", 7]}, "it holds int"),
        ({"prediction": "a", "references": ["a"]}, "'dataset' must be text"),
    ],
)
def test_a_bad_row_is_named_and_counted_and_the_others_are_scored(score, row, reason):
    good = {"prediction": "a", "references": ["a"], "dataset": "SVT", "question_type": "x"}
    code, out, err = score("ocrbench", good, row, good)
    assert code == 2
    assert "line 2: " in err
    assert reason in err
    assert "1 of 3 rows could not be scored" in err
    assert out.splitlines()[:3] == ["1", "invalid", "1"]
    assert "2 scored, 1 invalid" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "x.jsonl"], "no benchmark 'nope': choose one of chartqa"),
        (["chartqa", "nowhere.jsonl"], "cannot read nowhere.jsonl: No such file"),
        (["chartqa", "/"], "cannot read /: Is a directory"),
        (["chartqa", "x.jsonl", "--scorer", "1"], "no scorer '1': choose one of 0.6.1, 0.7.2"),
    ],
)
def test_refusals(capsys, arguments, message):
    assert main(["score", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_empty_file_is_refused(score):
    code, _, err = score("vstar")
    assert code == 2
    assert "has no predictions" in err
