"""A model on a server: what a client sees, what the server reports, and nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest

import awares_edge
from awares_edge.controller.options import AskOptions
from awares_edge.errors import EndpointError, InputError
from awares_edge.evaluation.profile.asking import follow
from awares_edge.evaluation.profile.compare import compare_runs
from awares_edge.evaluation.profile.endpoint import measure_endpoint
from awares_edge.evaluation.profile.job import Variant
from awares_edge.evaluation.profile.measure import measure
from awares_edge.evaluation.profile.report import variant_name
from awares_edge.evaluation.profile.summary import summarise
from awares_edge.evaluation.profile.workload import noise_picture
from tests.evaluation.profile.conftest import job
from tests.remote.fake import Fault, faking
from tests.serve.support import serving

CALL = "GET_CROPS: ['0', '3']"
LONG = "x" * 100


def served_job(url, mode="awares", model="m", **changes):
    return job(variant=Variant(url, mode, protocol="nano", model=model), **changes)


def measured(fake, mode="awares", **changes):
    """What is measured of a scripted server."""
    return measure_endpoint(served_job(fake.url, mode, **changes), lambda *_: None)


@pytest.fixture(scope="module")
def server():
    with serving(model=awares_edge.load(threads=1)) as server:
        yield server


class TestOurServer:
    def measured(self, server, mode="awares", **changes):
        made = served_job(server.url, mode, awares_edge.connect(server.url).about.name, **changes)
        return measure_endpoint(made, lambda *_: None)

    @pytest.mark.parametrize("mode", ["awares", "again", "full", "low", "always-full"])
    def test_the_work_is_that_of_the_model_here(self, server, mode):
        """The call is given there and generated here: its tokens are in the cache either way."""
        theirs = self.measured(server, mode)["rows"]
        ours = measure(job(mode), lambda *_: None)["rows"]
        for there, here in zip(theirs, ours, strict=True):
            assert there["rtr"] == here["rtr"]
            for one, other in zip(there["turns"], here["turns"], strict=True):
                assert one["image_tokens"] == other["image_tokens"]
                # Words in another order may be a token more or less.
                prompts = [t["reused_tokens"] + t["prefill_tokens"] for t in (one, other)]
                assert abs(prompts[0] - prompts[1]) <= 3

    def test_phases_are_the_server_s_and_turns_are_timed_here(self, server):
        found = self.measured(server)
        assert found["server"] == "awares-edge"
        assert found["reported"] == ["preprocess", "vision", "prefill", "decode"]
        for row in found["rows"]:
            assert sum(turn["seen_ms"] for turn in row["turns"]) == pytest.approx(row["total_ms"])
            last = row["turns"][-1]
            assert row["tpot_ms"] == last["ms"]["decode"] / (last["decode_tokens"] - 1)
            assert 0 < row["ttft_ms"] <= row["total_ms"]
        summary = summarise(found, None, {})
        assert [(t["turn"], t["phase"]) for t in summary["turns"]] == [
            (1, "until the crops"), (2, "until the end"),
        ]  # fmt: skip
        assert {phase["source"] for phase in summary["phases"]} == {"server"}
        assert {phase["share_of_limit"] for phase in summary["phases"]} == {None}

    def test_what_is_not_seen_from_here_is_none(self, server):
        found = self.measured(server, sustained_s=0.1)
        assert set(found["memory"].values()) == {None}
        assert found["load_ms"] is None
        assert found["energy"] == {"source": None, "reason": "a server's energy is not measured"}
        assert all(row["cpu_ms"] is row["first_token_ms"] is None for row in found["rows"])
        assert found["sustained"][0]["celsius"] is None

    def test_no_picture_is_known_from_an_earlier_run(self, server):
        """The server keeps pictures, and the same job is measured twice."""
        for _ in range(2):
            for row in self.measured(server, "low")["rows"]:
                assert row["turns"][0]["ms"]["vision"] > 0

    def test_again_is_about_a_picture_that_it_knows(self, server):
        for row in self.measured(server, "again")["rows"]:
            assert all(turn["ms"]["vision"] == 0 for turn in row["turns"])
            assert row["turns"][0]["reused_tokens"] > 16

    def test_a_crop_that_the_protocol_lacks_is_refused(self, server):
        with pytest.raises(InputError, match=r"not a set of crop ids: .*'9'"):
            self.measured(server, crops=("9",))


class TestOtherServers:
    def test_replies_are_as_long_as_scripted_and_read_as_scripted(self):
        with faking(*[LONG] * 2, owner="vllm") as fake:
            (row,) = measured(fake, iterations=1, warmup=0)["rows"]
            first, second = fake.requests
        assert [(r["max_tokens"], r["ignore_eos"]) for r in (first, second)] == [
            (10, True), (8, True),
        ]  # fmt: skip
        assert "stop" not in first
        assert second["messages"][: len(first["messages"])] == first["messages"]
        assert second["messages"][len(first["messages"])]["content"] == CALL
        assert [turn["image_tokens"] for turn in row["turns"]] == [[16], [16, 16]]
        assert [turn["decode_tokens"] for turn in row["turns"]] == [10, 8]
        # The first turn's prompt was kept, as the server says.
        assert row["turns"][1]["reused_tokens"] >= row["turns"][0]["prefill_tokens"]

    @pytest.mark.parametrize(
        ("mode", "tokens"), [("full", [[64]]), ("low", [[16]]), ("always-full", [[16], [64]])]
    )
    def test_the_other_modes(self, mode, tokens):
        with faking(*[LONG] * 2, owner="sglang") as fake:
            (row,) = measured(fake, mode, iterations=1, warmup=0)["rows"]
            assert fake.replies == [LONG] * (2 - len(tokens))
        assert [turn["image_tokens"] for turn in row["turns"]] == tokens

    def test_a_server_that_is_not_known_is_not_sent_what_it_may_refuse(self):
        with faking(*[LONG] * 2) as fake:
            measured(fake, iterations=1, warmup=0)
        assert not any("ignore_eos" in request for request in fake.requests)

    def test_only_what_is_measured_here_has_times(self):
        with faking(*[LONG] * 4, owner="vllm") as fake:
            found = measured(fake, iterations=2, warmup=0)
        assert found["reported"] == []
        summary = summarise(found, None, {})
        phases = [(phase["phase"], phase["source"]) for phase in summary["phases"]]
        assert phases == [("preprocess", "here"), ("crop preprocess", "here")]
        for row in found["rows"]:
            assert row["tpot_ms"] == pytest.approx((row["total_ms"] - row["ttft_ms"]) / 7)

    def test_without_usage_tokens_are_none(self):
        with faking(*[LONG] * 2, owner="vllm", report=False) as fake:
            found = measured(fake, iterations=1, warmup=0)
        (row,) = found["rows"]
        assert row["reused_tokens"] is row["prefill_tokens"] is row["tpot_ms"] is None
        assert row["rtr"] == 0.75  # follows from sizes
        figures = summarise(found, None, {})["figures"]
        assert figures["reused_tokens"] is figures["tpot_ms"] is figures["tokens_per_s"] is None

    @pytest.mark.parametrize("free", [False, True])
    def test_a_reply_that_comes_whole_has_no_tpot(self, free):
        with faking(*[LONG] * 2, owner="vllm", streams=False) as fake:
            (row,) = measured(fake, iterations=1, warmup=0, free=free)["rows"]
        assert row["tpot_ms"] is row["tokens_per_s"] is None
        assert 0 < row["ttft_ms"] <= row["total_ms"]

    def test_free_leaves_it_to_the_model(self):
        with faking("GET_CROPS: ['8']", "red", "blue", owner="vllm") as fake:
            found = measured(fake, iterations=2, warmup=0, free=True)
        assert not any("ignore_eos" in request for request in fake.requests)
        assert [len(row["turns"]) for row in found["rows"]] == [2, 1]
        assert summarise(found, None, {})["calls"] == 0.5

    def test_an_error_of_the_server_is_one_error(self):
        with (
            faking(LONG, LONG, Fault(500), owner="vllm") as fake,
            pytest.raises(EndpointError, match="HTTP 500"),
        ):
            measured(fake, iterations=2, warmup=0)


def test_a_turn_that_sends_an_error_has_no_times_of_its_own():
    """Nobody outside sees when it begins; the question's own time is known all the same."""
    call = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": "x"}}</tool_call>'
    with awares_edge.scripted([call, "<answer>red</answer>"], protocol="deepeyes") as model:
        image = noise_picture(np.random.default_rng(0), 224)
        with model.open(image) as picture:
            found = follow(picture, "What?", AskOptions(constrain=False), lambda: 1)
    assert len(found.answer.turns) == len(found.image_tokens) == 2
    assert found.turn_ms() == found.counted() == [None, None]
    assert found.total_ms > 0


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("m", "m at h:1"), ("Kimhi/AWARES-Qwen2.5-VL-7B", "AWARES-Qwen2.5-VL-7B at h:1"),
        ("/models/nano-F32.gguf", "nano-F32.gguf at h:1"), ("a\x1b[2J", "a\\x1b[2J at h:1"),
    ],
)  # fmt: skip
def test_a_model_on_a_server_is_named_with_its_server(model, name):
    assert Variant("http://h:1/v1", "low", model=model).name == name


def test_runs_of_the_same_endpoint_are_compared(run):
    """Beside a bundle: each with its own kind."""
    with faking(*[LONG] * 6, owner="vllm") as fake:
        found = measured(fake, iterations=3, warmup=0)
    found = json.loads(json.dumps({**found, "summary": summarise(found, None, {})}))
    both = {**run, "variants": [*run["variants"], found]}
    compared = compare_runs(both, both)["variants"]
    assert [variant["name"] for variant in compared] == ["nano", "nano", variant_name_of(found)]
    changes = [change["what"] for change in compared[-1]["changes"]]
    assert changes == [
        "question", "TTFT", "TPOT", "1: until the crops", "2: until the end", "1: preprocess",
        "2: crop preprocess",
    ]  # fmt: skip
    moved = replace(Variant(**found["job"]["variant"]), path="http://elsewhere:1/v1")
    found["job"]["variant"]["path"] = moved.path
    with pytest.raises(InputError, match="no variant in common"):
        compare_runs({**run, "variants": [found]}, {**both, "variants": both["variants"][:2]})


def variant_name_of(variant):
    return variant_name(variant).partition(", ")[0]
