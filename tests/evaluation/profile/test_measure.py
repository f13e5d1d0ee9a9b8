"""Every mode does the work that its name says, on new pictures and questions each time."""

from dataclasses import replace

import numpy as np
import pytest

import awares_edge
from awares_edge.errors import InputError
from awares_edge.evaluation.profile.job import Job, Variant
from awares_edge.evaluation.profile.measure import measure
from awares_edge.evaluation.profile.workload import (
    Steer,
    noise_picture,
    scripted_replies,
    shuffled_question,
)
from awares_edge.evaluation.watch import assistant_opening, watch
from awares_edge.protocol.calibration import Calibration
from awares_edge.runtimes.base import TextSegment
from tests.evaluation.profile.conftest import job


def rows_of(mode, **changes):
    return measure(job(mode, **changes), lambda *_: None)["rows"]


def test_awares_calls_for_the_scripted_crops_and_answers_at_the_scripted_length():
    for row in rows_of("awares"):
        first, second = row["turns"]
        assert first["image_tokens"] == [16]
        assert second["image_tokens"] == [16, 16]
        assert second["decode_tokens"] == 9  # its end token included
        assert second["steps"] == 8
        assert row["rtr"] == 0.75
        # Everything that the first turn left in the cache, but its uncached end.
        assert second["reused_tokens"] >= first["reused_tokens"] + first["prefill_tokens"]


def test_again_reuses_picture_and_crops():
    for row in rows_of("again"):
        assert all(turn["ms"]["vision"] == 0 for turn in row["turns"])
        assert row["turns"][0]["reused_tokens"] > 16


@pytest.mark.parametrize(
    ("mode", "tokens", "rtr"),
    [("full", [[64]], 1.0), ("low", [[16]], 0.25), ("always-full", [[16], [64]], 1.25)],
)
def test_the_other_modes(mode, tokens, rtr):
    for row in rows_of(mode):
        assert [turn["image_tokens"] for turn in row["turns"]] == tokens
        assert row["turns"][-1]["decode_tokens"] == 9
        assert row["rtr"] == rtr


def test_times_fit_into_each_other():
    for row in rows_of("awares"):
        phases = sum(ms for turn in row["turns"] for ms in turn["ms"].values())
        assert 0 < row["first_token_ms"] < row["ttft_ms"] <= row["total_ms"]
        assert 0 < phases <= row["total_ms"]
        assert row["tokens_per_s"] == pytest.approx(1e3 / row["tpot_ms"])
        assert row["cpu_ms"] > 0


def test_free_leaves_it_to_the_model():
    """Beside a scripted model: its own call, not the job's."""
    model = awares_edge.scripted(["GET_CROPS: ['8']", "red"], protocol="nano")
    watched, _ = watch(model, Steer(model, None))
    image = noise_picture(np.random.default_rng(0), 224)
    answer = watched.ask(image, "What?")
    assert ([crop.id for crop in answer.crops], answer.text) == (["8"], "red")
    assert len(rows_of("awares", free=True)) == 3


def test_steered_replies_follow_turn_by_turn():
    """Three turns: nothing counts on two."""
    model = awares_edge.scripted(["a"] * 3)
    replies = [(65, 66, 258), (67, 258), (68, 69, 258)]
    watched, runtime = watch(model, Steer(model, replies))
    opening = assistant_opening(model)
    with model:
        session = runtime.open_session()
        said = []
        for _ in replies:
            logits = session.prefill([TextSegment((1, *opening))])[-1]
            turn = []
            while not turn or turn[-1] != 258:
                turn.append(int(logits.argmax()))
                logits = session.decode(turn[-1])
            said.append(tuple(turn))
        assert said == replies
        watched.close()


@pytest.mark.parametrize("bias", [-1e4, 1e4])
def test_steered_replies_are_written_whatever_a_bundle_was_calibrated_to(bias):
    model = awares_edge.scripted(["a"] * 3, protocol="nano")
    model.calibration = Calibration("", "", decision_bias=bias)
    said = ("GET_CROPS: ['8']", "A")
    replies = [(*model.tokenizer.encode(one), model.special.im_end) for one in said]
    image = noise_picture(np.random.default_rng(0), 224)
    for script, text, crops in ((replies, "A", ["8"]), (replies[1:], "A", [])):
        watched, _ = watch(model, Steer(model, script))
        answer = watched.ask(image, "What?")
        assert (answer.text, [crop.id for crop in answer.crops]) == (text, crops)
        assert answer.decision_bias == bias


def test_a_rewound_cache_is_steered_anew():
    model = awares_edge.scripted(["a"] * 2)
    _, runtime = watch(model, Steer(model, [(65, 66, 258)]))
    session = runtime.open_session()
    session.prefill([TextSegment((1, 2))])
    mark = session.mark()
    for _ in range(2):
        logits = session.prefill([TextSegment(assistant_opening(model))])[-1]
        assert logits.argmax() == 65
        assert session.decode(65).argmax() == 66
        session.rewind(mark)
        assert session.ids == [1, 2]


def test_pictures_and_questions_are_always_new():
    rng = np.random.default_rng(0)
    pictures = {noise_picture(rng, 56).tobytes() for _ in range(20)}
    questions = [shuffled_question(rng) for _ in range(20)]
    assert len(pictures) == len(set(questions)) == 20
    assert len({" ".join(sorted(q.rstrip("?").split())) for q in questions}) == 1


def test_the_answer_has_the_asked_length():
    with awares_edge.load(threads=1) as model:
        for count in (1, 7, 100):
            *_, answer = scripted_replies(model, job(answer_tokens=count))
            assert len(answer) == count + 1
            assert answer[-1] == model.special.im_end


def test_a_crop_that_the_protocol_lacks_is_refused():
    with pytest.raises(InputError, match=r"not a set of crop ids: .*'9'"):
        measure(job(crops=("9",)), lambda *_: None)


def test_max_pixels_shrinks_the_picture():
    variant = replace(job().variant, max_pixels=112 * 112)
    (row, *_) = measure(job(variant=variant, iterations=1), lambda *_: None)["rows"]
    assert [turn["image_tokens"] for turn in row["turns"]] == [[4], [4, 4]]


def test_a_job_survives_its_way_to_another_process():
    import json

    sent = job(cpus=(0, 1))
    assert Job.from_dict(json.loads(json.dumps(sent.to_dict()))) == sent
    assert isinstance(sent.variant, Variant)


def test_the_published_way_computes_everything_twice():
    pytest.importorskip("transformers")
    from pathlib import Path

    checkpoint = Path(__file__).resolve().parents[3] / "checkpoints" / "nano"
    variant = Variant(str(checkpoint), "reference", "torch", "nano", threads=1)
    for row in measure(job(variant=variant), lambda *_: None)["rows"]:
        first, second = row["turns"]
        assert first["reused_tokens"] == second["reused_tokens"] == 0
        assert first["image_tokens"] == [16]
        assert second["image_tokens"] == [16, 16]
        assert second["prefill_tokens"] > first["prefill_tokens"] + 32
        assert second["decode_tokens"] == 9
        assert row["rtr"] == 0.75
        assert row["first_token_ms"] < row["ttft_ms"] < row["total_ms"]
