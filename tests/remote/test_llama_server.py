"""llama.cpp's own server with the nano model: a plain server, as it is shipped.

AWARES_EDGE_LLAMA_SERVER=$(scripts/llama-server) pytest -m slow tests/remote
"""

import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import awares_edge
from awares_edge import AskOptions, Cancelled, ContextOverflow, Policies
from awares_edge.apps.cli import main
from awares_edge.evaluation.synthetic import questions
from tests.support.gguf import export_gguf

PROGRAM = os.environ.get("AWARES_EDGE_LLAMA_SERVER", "")
NANO = Path(awares_edge.__file__).parents[1] / "checkpoints" / "nano"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROGRAM, reason="needs AWARES_EDGE_LLAMA_SERVER=$(scripts/llama-server)"
    ),
]
QUESTIONS = 60


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    pytest.importorskip("gguf")
    return export_gguf(NANO, tmp_path_factory.mktemp("nano") / "f32", profile="nano")


@contextmanager
def running(bundle, *options):
    """A server on a free port; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = next(p for p in bundle.glob("*.gguf") if not p.name.startswith("mmproj"))
    vision = next(bundle.glob("mmproj*.gguf"))
    command = [
        *(PROGRAM, "-m", text, "--mmproj", vision, "--host", "127.0.0.1", "--port", str(port)),
        *("-c", "2048", "-np", "1", "-t", "1", "--no-warmup", "--image-min-tokens", "4"),
        *options,
    ]
    with (bundle / "server.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(process, f"{url}/health", bundle / "server.log")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def wait_until_ready(process, url, log):
    end = time.monotonic() + 120
    while True:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            assert time.monotonic() < end, "the server does not get ready"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def served(bundle):
    with running(bundle) as url, awares_edge.connect(url, protocol="nano") as model:
        yield model


@pytest.fixture(scope="module")
def local():
    with awares_edge.load(threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def asked():
    """Pictures of the synthetic suite, with a question each."""
    return [(image, question) for _, image, chosen in questions("test", 3, QUESTIONS)
            for question in chosen]  # fmt: skip


def test_it_says_what_it_is(served):
    assert served.about.runtime == "llama.cpp server"
    assert served._link.served.context == 2048


def test_decisions_and_answers_are_those_of_the_model(served, local, asked):
    """Decisions, crops and answers of llama.cpp's own vision tower and template, all of them."""
    same = right = 0
    for image, question in asked:
        theirs = served.ask(image, question.text)
        ours = local.ask(image, question.text)
        same += (theirs.crops, theirs.text) == (ours.crops, ours.text)
        right += theirs.text == question.answer
        assert theirs.visual_tokens.full == ours.visual_tokens.full
    assert same >= 0.98 * len(asked)
    assert right >= 0.95 * len(asked)


def test_the_second_turn_is_served_from_its_cache(served, asked):
    zoomed = next(a for image, q in asked if (a := served.ask(image, q.text)).zoomed)
    one, two = zoomed.turns
    # All of the first turn was kept: its prompt, and the call but for its end.
    assert two.reused_tokens >= one.reused_tokens + one.prefill_tokens
    # What is new: the call's last token and end, the marks of two messages, and the crops.
    crops = sum(crop.tokens for crop in zoomed.crops)
    assert two.prefill_tokens <= crops + 12
    assert {"decode", "prefill", "reused_tokens"} & two.unreported == set()


def test_the_counts_are_those_of_the_model_here(served, local, asked):
    """The server counts as many tokens as the model here: its template adds and drops nothing."""
    for image, question in asked[:12]:
        theirs, ours = served.ask(image, question.text), local.ask(image, question.text)
        if theirs.text != ours.text:
            continue
        prompts = [[t.reused_tokens + t.prefill_tokens for t in a.turns] for a in (theirs, ours)]
        assert prompts[0] == prompts[1]


def test_a_call_that_is_not_allowed_is_taken_back_under_a_grammar(served, local, asked):
    """Most answers are those of the model here, which bars one token instead of a text."""
    low = AskOptions(mode="low")
    zoomed = [(i, q.text) for i, q in asked if served.ask(i, q.text).zoomed]
    answers = [(served.ask(*one, low), local.ask(*one, low)) for one in zoomed]
    assert {theirs.policies for theirs, _ in answers} == {("call-barred:turn 1",)}
    assert all(theirs.text and "GET" not in theirs.text for theirs, _ in answers)
    assert sum(one.text == other.text for one, other in answers) > 0.6 * len(answers)


def test_so_is_one_for_which_no_budget_is_left(served, asked):
    image, question = next((i, q) for i, q in asked if served.ask(i, q.text).zoomed)
    budget = AskOptions(policies=Policies(max_rtr=0.26))
    answer = served.ask(image, question.text, budget)
    assert answer.policies == ("token-budget:answer-low",)
    assert answer.text


def test_a_conversation(served, local, asked):
    image, first = asked[0]
    second = next(q for i, q in asked if i is image and q is not first)
    follow = AskOptions(follow_up=True)
    with served.open(image) as theirs, local.open(image) as ours:
        for question, options in ((first, AskOptions()), (second, follow)):
            told = theirs.ask(question.text, options)
            expected = ours.ask(question.text, options)
    assert (told.text, told.crops) == (expected.text, expected.crops)


def test_leaving_frees_the_server(served, asked):
    image, question = asked[0]
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        served.ask(image, question.text, AskOptions(cancel=cancel))
    with served.open(image) as picture:
        stream = picture.stream(question.text, AskOptions(mode="full"))
        next(stream)
        stream.close()
        assert picture.ask(question.text).text


def test_a_context_that_is_too_short(bundle):
    with running(bundle, "-c", "96") as url, awares_edge.connect(url, protocol="nano") as model:
        image = np.zeros((224, 224, 3), dtype=np.uint8)
        with pytest.raises(ContextOverflow):
            model.ask(image, "What is the title? " * 40)


def test_evaluate_runs_over_it(bundle, tmp_path, capsys):
    with running(bundle) as url:
        code = main(["evaluate", "synth", "--limit", "24", "--endpoint", url, "--protocol", "nano",
                     "--json"])  # fmt: skip
    assert code == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9


def test_profile_measures_it(bundle, capsys):
    """It generates as many tokens as are scripted, keeps the first turn, and knows no picture."""
    with running(bundle) as url:
        code = main(["profile", "--endpoint", url, "--protocol", "nano", "--iterations", "4",
                     "--mode", "awares", "--mode", "again", "--answer-tokens", "12",
                     "--json"])  # fmt: skip
    assert code == 0
    awares, again = json.loads(capsys.readouterr().out)["variants"]
    assert awares["server"] == "llama.cpp server"
    assert awares["reported"] == ["prefill", "decode"]
    for row in awares["rows"] + again["rows"]:
        assert [turn["decode_tokens"] for turn in row["turns"]] == [10, 12]
        assert [turn["image_tokens"] for turn in row["turns"]] == [[16], [16, 16]]
        one, two = row["turns"]
        assert two["reused_tokens"] >= one["reused_tokens"] + one["prefill_tokens"]
        assert row["tpot_ms"] == two["ms"]["decode"] / 11
        assert 0 < row["ttft_ms"] < row["total_ms"]
    # Of a new picture only the text before it is known; of one that was asked about, it too.
    new, known = (
        [row["turns"][0]["reused_tokens"] for row in variant["rows"]] for variant in (awares, again)
    )
    assert max(new) + 16 <= min(known)
