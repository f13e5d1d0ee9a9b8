"""Our runtimes against transformers (fp32): turn 1, call, cached turn 2, decode."""

from itertools import chain

import numpy as np
import pytest

from awares_edge.runtimes.torch_reference import TorchRuntime
from tests.support.pairs import make_pair, noise_patches, segments

BOUND = 2e-5
"""Largest |difference| of logits, as a share of the logits' standard deviation."""

# A low-res view, then two crops whose sides are not multiples of the 112-pixel windows.
TURN_1 = [(5, 6, 7, 8), noise_patches(140, 196, 1), tuple(range(20, 33))]
CALL = (40, 41, 42, 43, 44)
TURN_2 = [(9, 10), noise_patches(252, 168, 2), (11, 12), noise_patches(84, 308, 3), (13, 14, 15)]
ANSWER = (50, 51, 52)


def distance(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(ours - reference).max() / reference.std())


def cells(parts) -> int:
    return sum(len(part) if isinstance(part, tuple) else part.grid.tokens for part in parts)


@pytest.fixture(scope="module")
def reference(pair):
    """transformers' logits of the whole conversation, from scratch, cut into its stages."""
    logits = pair.reference_logits([*TURN_1, CALL, *TURN_2, ANSWER])
    ends = np.cumsum([cells(TURN_1), len(CALL), cells(TURN_2)])
    return dict(zip(("turn 1", "call", "turn 2", "decode"), np.split(logits, ends), strict=True))


@pytest.fixture(scope="module", params=["onnx", "torch"])
def runtime(request, pair):
    if request.param == "onnx":
        return pair.runtime
    return TorchRuntime.load(pair.checkpoint)


def run_stages(runtime):
    """The same conversation, one stage after another over one kept cache."""
    with runtime.open_session() as session:
        first = session.prefill(segments(runtime, TURN_1), keep_logits=cells(TURN_1))
        call = np.stack([session.decode(token) for token in CALL])
        second = session.prefill(segments(runtime, TURN_2), keep_logits=cells(TURN_2))
        answer = np.stack([session.decode(token) for token in ANSWER])
    return {"turn 1": first, "call": call, "turn 2": second, "decode": answer}


@pytest.fixture(scope="module")
def stages(runtime):
    return run_stages(runtime)


@pytest.mark.parametrize("stage", ["turn 1", "call", "turn 2", "decode"])
def test_a_stage_equals_transformers(stages, reference, stage):
    assert distance(stages[stage], reference[stage]) <= BOUND


def test_cached_turn_2_equals_from_scratch(runtime, stages):
    with runtime.open_session() as session:
        whole = session.prefill(
            segments(runtime, [*TURN_1, CALL, *TURN_2]), keep_logits=cells(TURN_2)
        )
    assert distance(whole, stages["turn 2"]) <= BOUND


# A conversation: four turns, each with a picture, each appended to what stands before it.
CONVERSATION = [
    [(5, 6, 7, 8), noise_patches(140, 196, 6), (20, 21, 22)],
    [(30, 31, 9), noise_patches(252, 168, 7), (13, 14)],
    [(32, 9), noise_patches(84, 308, 8), (23, 24, 25)],
    [(33, 34, 35, 9), noise_patches(196, 112, 9), (15, 16)],
]


def test_four_appended_turns_equal_transformers_from_scratch(pair, runtime):
    expected = pair.reference_logits(list(chain(*CONVERSATION)))
    with runtime.open_session() as session:
        turns = [
            session.prefill(segments(runtime, turn), keep_logits=cells(turn))
            for turn in CONVERSATION
        ]
    assert distance(np.concatenate(turns), expected) <= BOUND


def test_turn_2_after_another_question_was_rewound(runtime, stages):
    """A picture's cells are shared by questions: what was forgotten leaves no trace."""
    with runtime.open_session() as session:
        session.prefill(segments(runtime, TURN_1))
        mark = session.mark()
        session.prefill(segments(runtime, [(60, 61), noise_patches(112, 112, 4), (62,)]))
        session.rewind(mark)
        for token in CALL:
            session.decode(token)
        second = session.prefill(segments(runtime, TURN_2), keep_logits=cells(TURN_2))
    assert distance(second, stages["turn 2"]) <= BOUND


def test_a_fork_goes_its_own_way(runtime, stages):
    with runtime.open_session() as session:
        session.prefill(segments(runtime, TURN_1))
        with session.fork() as fork:
            fork.prefill(segments(runtime, [(60, 61, 62)]))
            ours = np.stack([session.decode(token) for token in CALL])
            assert fork.cells == cells(TURN_1) + 3
    assert distance(ours, stages["call"]) <= BOUND


def test_kept_logits_are_the_last_rows(runtime, stages):
    with runtime.open_session() as session:
        kept = session.prefill(segments(runtime, TURN_1), keep_logits=3)
    assert distance(kept, stages["turn 1"][-3:]) <= BOUND


def test_features_equal_the_vision_tower(pair, runtime):
    """In raster order, for a picture whose windows are ragged on both sides."""
    import torch

    patches = noise_patches(364, 252, 5)
    grid = torch.tensor([[1, patches.grid.height, patches.grid.width]])
    with torch.inference_mode():
        theirs = pair.reference.model.visual(torch.from_numpy(patches.pixels), grid_thw=grid)
    ours = np.asarray(runtime.encode_image(patches).features)
    assert distance(ours, theirs.pooler_output.numpy()) <= BOUND


def test_positions_equal_get_rope_index(pair):
    """What a session passes for every cell, across turns."""
    from awares_edge.runtimes.null import NullRuntime

    seen = []
    runtime = NullRuntime()
    with runtime.open_session() as session:
        forward = session._forward

        def spy(piece):
            seen.append(piece.positions)
            return forward(piece)

        session._forward = spy
        for turn in (TURN_1, [CALL], TURN_2, [ANSWER]):
            session.prefill(segments(runtime, turn))
    expected = pair.reference_inputs(list(chain(TURN_1, [CALL], TURN_2, [ANSWER])))["position_ids"]
    np.testing.assert_array_equal(np.concatenate(seen, axis=1), expected[:, 0].numpy())


class TestFp16:
    """Weights stored in half precision; on a CPU computed in single."""

    BOUND = 1e-2

    @pytest.fixture(scope="class", params=["untied", "tied"])
    def half(self, request, tmp_path_factory):
        return make_pair(tmp_path_factory.mktemp("half"), request.param, "fp16")

    def test_stages_are_near_transformers(self, half):
        expected = half.reference_logits([*TURN_1, CALL, *TURN_2, ANSWER])
        ours = np.concatenate(list(run_stages(half.runtime).values()))
        assert 1e-6 < distance(ours, expected) <= self.BOUND

    def test_the_graphs_for_gpus_agree(self, half, monkeypatch):
        """They compute in fp16 too; onnxruntime's CPU provider can run them, if slowly."""
        from awares_edge.runtimes.onnx import runtime as module

        path = half.bundle.path
        monkeypatch.setattr(
            module.Bundle, "path", lambda _, name: path(name.replace(".onnx", ".fp16.onnx"))
        )
        runtime = module.OnnxRuntime.load(half.bundle, threads=1)
        monkeypatch.undo()
        expected = half.reference_logits([*TURN_1, CALL, *TURN_2, ANSWER])
        ours = np.concatenate(list(run_stages(runtime).values()))
        assert distance(ours, expected) <= 2 * self.BOUND
