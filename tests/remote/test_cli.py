"""`--endpoint` in ask, chat, evaluate, parity and profile."""

import io
import json
from pathlib import Path

import pytest

import awares_edge
from awares_edge.apps.cli import main
from tests.evaluation.pages import check_page, check_rendered
from tests.remote.fake import Fault, faking, streamed
from tests.serve.support import serving

SAMPLES = Path(awares_edge.__file__).parent / "assets" / "samples"
ROOT = Path(awares_edge.__file__).parents[1]
SIGN = SAMPLES / "sign.png"
CALL = "GET_CROPS: ['3']"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments, code=0):
    capsys.readouterr()
    assert main([*map(str, arguments)]) == code
    printed = capsys.readouterr()
    return printed.out, printed.err


def refused(capsys, *arguments):
    """The one line of a refusal."""
    out, err = run(capsys, *arguments, code=2)
    assert out == ""
    [line] = err.splitlines()
    return line


class TestAsk:
    def test_it_asks_the_server(self, capsys):
        with faking(CALL, "42") as fake:
            out, err = run(
                capsys, "ask", SIGN, "What?", "--endpoint", fake.url, "--protocol", "paper"
            )
        assert out == "42\n"
        assert "zoomed: bottom-right" in err
        assert "preprocess" in err
        assert "vision" not in err

    def test_what_was_not_reported_is_null(self, capsys):
        with faking("42", report=False) as fake:
            out, _ = run(capsys, "ask", SIGN, "What?", "--endpoint", fake.url, "--protocol",
                         "paper", "--json")  # fmt: skip
        assert json.loads(out)["decode_tokens"] == [None, 0]

    def test_our_own_server_needs_no_protocol(self, capsys):
        with serving("42", "43") as server:
            out, _ = run(capsys, "ask", SIGN, "What?", "And?", "--endpoint", server.url,
                         "--save-view", "seen.png", "--stream")  # fmt: skip
        assert out == "42\n43\n"
        assert Path("seen.png").read_bytes().startswith(b"\x89PNG")

    def test_others_do(self, capsys):
        with faking() as fake:
            line = refused(capsys, "ask", SIGN, "What?", "--endpoint", fake.url)
        assert line.endswith("name its protocol profile (--protocol)")

    @pytest.mark.parametrize("option", [
        ("--bundle", "x"), ("--runtime", "onnx"), ("--device", "cpu"), ("--threads", "1"),
        ("--context", "512"),
    ])  # fmt: skip
    def test_options_of_a_model_here_are_refused(self, capsys, option):
        line = refused(capsys, "ask", SIGN, "What?", "--endpoint", "http://127.0.0.1:9", *option)
        assert f"leave {option[0]} out" in line

    def test_a_model_s_name_is_for_a_server(self, capsys):
        assert "leave it out" in refused(capsys, "ask", SIGN, "What?", "--model", "m")

    def test_nobody_there(self, capsys):
        line = refused(capsys, "ask", SIGN, "What?", "--endpoint", "http://127.0.0.1:9")
        assert line.startswith("awares-edge: cannot reach http://127.0.0.1:9/v1/models")

    def test_there_is_no_option_for_the_key(self, capsys):
        out, _ = run(capsys, "ask", "--help")
        assert "--key" not in out
        assert "AWARES_EDGE_ENDPOINT_KEY" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

    def test_what_a_server_says_cannot_command_the_terminal(self, capsys):
        body = streamed("re\x1b[2Jd\u202e")
        with faking(Fault(body=body)) as fake:
            out, _ = run(
                capsys, "ask", SIGN, "What?", "--endpoint", fake.url, "--protocol", "paper"
            )
        assert out == "re\\x1b[2Jd\\u202e\n"
        body = b'{"error": {"message": "\\u001b[2J\\nboo"}}'
        with faking(Fault(500, body)) as fake:
            line = refused(
                capsys, "ask", SIGN, "What?", "--endpoint", fake.url, "--protocol", "paper"
            )
        assert "\\x1b[2J\\nboo" in line
        assert line.isprintable()


def test_a_chat_goes_on_after_a_server_s_error(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("What?\nAnd?\nSo?\n"))
    with faking("42", Fault(500), "43") as fake:
        out, err = run(capsys, "chat", SIGN, "--endpoint", fake.url, "--protocol", "paper")
        said = [m["content"] for m in fake.requests[2]["messages"][2:]]
    assert out == "42\n43\n"
    assert "HTTP 500" in err
    assert said == ["42", "So?"]


class TestEvaluate:
    def evaluate(self, capsys, url, *more, code=0):
        return run(capsys, "evaluate", "synth", "--limit", "4", "--protocol", "paper",
                   "--endpoint", url, *more, code=code)  # fmt: skip

    def test_it_measures_a_server(self, capsys):
        with faking(*["red"] * 8, owner="vllm") as fake:
            out, _ = self.evaluate(capsys, fake.url, "--modes", "low,full", "--json")
        assert [result["questions"] for result in json.loads(out)] == [4, 4]

    def test_a_run_that_broke_off_is_resumed(self, capsys):
        with faking("red", "red", Fault(500), *["red"] * 2) as fake:
            arguments = ("--modes", "low", "-o", "results")
            _, err = self.evaluate(capsys, fake.url, *arguments, code=2)
            assert "HTTP 500" in err
            self.evaluate(capsys, fake.url, *arguments, "--resume")
            assert len(fake.requests) == 5
        rows = Path("results/synth/low/rows.jsonl").read_text(encoding="ascii").splitlines()
        assert [json.loads(row)["index"] for row in rows] == [0, 1, 2, 3]
        run_file = json.loads(Path("results/summary.json").read_text(encoding="utf-8"))
        assert run_file["model"]["endpoint"] == fake.url

    def test_another_server_is_another_run(self, capsys):
        with faking(*["red"] * 4) as fake:
            self.evaluate(capsys, fake.url, "--modes", "low", "-o", "results")
        with faking() as other:
            _, err = self.evaluate(
                capsys, other.url, "--modes", "low", "-o", "results", "--resume", code=2
            )
        assert "results" in err

    def test_pruning_needs_a_model_here(self, capsys):
        with faking() as fake:
            _, err = self.evaluate(capsys, fake.url, "--modes", "prune:0.5", code=2)
        assert "needs a model on this machine" in err


class TestParity:
    def test_a_server_beside_the_bundle_that_it_serves(self, capsys):
        bundle = awares_edge.embedded_bundle()
        with serving(model=awares_edge.load(threads=1)) as server:
            out, _ = run(capsys, "parity", bundle, "--endpoint", server.url, "--limit", 6,
                         "--probes", 0, "--json")  # fmt: skip
        [result] = json.loads(out)["candidates"]
        assert result["agrees"]
        assert result["decisions"]["same"]["count"] == result["answers"]["count"] == 6
        assert result["candidate"]["endpoint"] == server.url

    def test_a_server_that_answers_something_else_fails(self, capsys):
        bundle = awares_edge.embedded_bundle()
        with serving(model=awares_edge.scripted(["red"] * 12, protocol="nano")) as server:
            out, _ = run(capsys, "parity", bundle, "--endpoint", server.url, "--limit", 6,
                         "--probes", 0, code=1)  # fmt: skip
        assert "✗" in out


class TestProfile:
    SHORT = ("--mode", "awares", "--iterations", "2", "--warmup", "0", "--side", "224")

    def test_our_server_beside_the_bundle_that_it_serves(self, capsys):
        bundle = awares_edge.embedded_bundle()
        with serving(model=awares_edge.load(threads=1)) as server:
            out, _ = run(capsys, "profile", bundle, "--endpoint", server.url, "--threads", 1,
                         *self.SHORT, "--json", "--html", "page.html")  # fmt: skip
        here, there = json.loads(out)["variants"]
        assert here["summary"]["figures"]["rtr"] == there["summary"]["figures"]["rtr"]
        assert here["manifest_sha256"]
        assert there["manifest_sha256"] is there["model"] is None
        fields = there["job"]["variant"]
        assert (fields["path"], fields["model"]) == (server.url, "awares-edge")
        assert (fields["threads"], there["server"]) == (None, "awares-edge")
        text = check_page(Path("page.html").read_text(encoding="utf-8"))
        assert f"awares-edge at {server.url[7:]}, awares-edge, onnx on cpu" in text
        assert "measured from here" in text
        check_rendered(Path("page.html"))
        Path("run.json").write_text(out, encoding="utf-8")
        compared, _ = run(capsys, "profile", "--compare", "run.json", "run.json")
        assert "2: until the end" in compared

    def test_what_is_not_known_is_blank(self, capsys, monkeypatch):
        monkeypatch.setenv("AWARES_EDGE_ENDPOINT_KEY", "a-secret")
        models = {"data": [{"id": "m\x1b[2J", "owned_by": "vllm"}]}
        with faking(*["x" * 20] * 4, owner="vllm", report=False, models=models) as fake:
            out, err = run(capsys, "profile", "--endpoint", fake.url, "--protocol", "nano",
                           *self.SHORT, "--html", "page.html")  # fmt: skip
        assert set(fake.keys) == {"Bearer a-secret"}
        page = Path("page.html").read_text(encoding="utf-8")
        assert "a-secret" not in out + err + page
        (row,) = [line for line in out.splitlines() if line.endswith(" 0.75")]
        *name, p50, p90, p99, ttft, _ = row.split()
        assert " ".join(name) == f"m\\x1b[2J at {fake.url[7:-3]}, awares"
        assert float(p50) <= float(p90) <= float(p99)
        assert float(ttft) > 0
        assert "limits" not in out
        assert "(server)\n" not in out
        assert "no joules: a server's energy is not measured" in out
        assert "m\\x1b[2J" in check_page(page)
        check_rendered(Path("page.html"))

    @pytest.mark.parametrize(("options", "message"), [
        (["--endpoint", "http://127.0.0.1:9"], "cannot reach http://127.0.0.1:9/v1/models"),
        (["--endpoint", "http://user:word@h/v1"], "must not hold a user name or a password"),
        (["--endpoint", "URL"], "name its protocol profile (--protocol)"),
        (["--endpoint", "URL", "--model", "x"], "has no model 'x': m"),
        (["--endpoint", "URL", "--model", "m", "--model", "m"], "give one for each, or none"),
        (["--model", "m"], "give one for each, or none"),
        (["--endpoint", "URL", "--threads", "1"], "--threads is for bundles: name one"),
        (["--endpoint", "URL", "--max-pixels", "9"], "--max-pixels is for bundles: name one"),
        (["--endpoint", "URL", "--device", "cpu"], "--device is for bundles: name one"),
        (["--endpoint", "URL", "--compare", "a", "b"], "leave bundles and endpoints out"),
    ])  # fmt: skip
    def test_what_cannot_be_measured_is_said_before_anything_is(self, capsys, options, message):
        with faking() as fake:
            given = [fake.url if option == "URL" else option for option in options]
            assert message in refused(capsys, "profile", *given)
            assert fake.requests == []

    def test_a_wrong_key(self, capsys):
        with faking(models=Fault(401)) as fake:
            line = refused(capsys, "profile", "--endpoint", fake.url, "--protocol", "nano")
        assert "HTTP 401" in line
        assert "set its key in AWARES_EDGE_ENDPOINT_KEY" in line

    def test_a_server_that_fails_on_the_way_leaves_nothing_half_written(self, capsys):
        with faking("x" * 20, Fault(500)) as fake:
            line = refused(capsys, "profile", "--endpoint", fake.url, "--protocol", "nano",
                           *self.SHORT, "--html", "page.html")  # fmt: skip
        assert "HTTP 500" in line
        assert not Path("page.html").exists()
