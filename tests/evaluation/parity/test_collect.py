"""What a recording holds is what the model said and computed."""

import numpy as np
import pytest

import awares_edge
from awares_edge.errors import InputError
from awares_edge.evaluation.parity import record
from awares_edge.evaluation.parity.collect import replay
from awares_edge.evaluation.parity.questions import read_questions, synthetic_questions
from awares_edge.evaluation.parity.recording import Turn, row_phases, split_turns
from awares_edge.evaluation.watch import IMAGE_CELL, PlacedImage
from awares_edge.runtimes.base import EncodedImage, ImageSegment, TextSegment
from awares_edge.vision.geometry import Grid
from tests.evaluation.parity.conftest import ABOUT


def test_rows_are_what_the_model_answers(nano, questions, recording):
    assert len(recording.rows) == len(questions.asked)
    for row, asked in zip(recording.rows, questions.asked, strict=True):
        answer = nano.ask(asked.load(), asked.text)
        assert row.answer == answer.text
        assert row.right == (answer.text.lower() == asked.expected.lower())
        assert [region for call in row.calls for region in call] == [
            (crop.id, crop.box) for crop in answer.crops
        ]
        assert row.called == bool(answer.crops)
        assert len(row.replies) == len(answer.turns)
    assert {row.called for row in recording.rows} == {True, False}


def test_replayed_logits_choose_the_tokens_that_were_generated(nano, recording):
    """The replay computes in other steps than the controller did: both must agree."""
    for number, probe in recording.probes.items():
        row = 0
        for turn in probe.turns:
            chosen = probe.logits[row : row + len(turn.reply) + 1].argmax(axis=-1)
            assert tuple(chosen[:-1]) == turn.reply
            assert chosen[-1] in nano.special.eos
            row += len(turn.reply) + 1
        assert row == len(probe.logits)
        assert tuple(turn.reply for turn in probe.turns) == recording.rows[number].replies


def test_margins_are_those_of_the_logits(recording):
    for number, probe in recording.probes.items():
        margins = [m for turn in recording.rows[number].margins for m in turn]
        best = np.sort(probe.logits, axis=-1)
        expected = (best[:, -1] - best[:, -2]) / probe.logits.std(axis=-1)
        np.testing.assert_allclose(margins, expected, rtol=1e-3, atol=1e-4)


def test_a_model_agrees_with_itself_cold_and_warm(recording):
    assert all(row.warm for row in recording.rows)
    assert all(probe.reuse_drift < 2e-5 for probe in recording.probes.values())


def test_a_cache_that_is_not_reusable_is_found_out(disturbed, questions):
    found = record(disturbed(logits=0.01), ABOUT, questions, probes=2)
    assert min(probe.reuse_drift for probe in found.probes.values()) > 0.01


def test_probes_are_spread_over_the_questions(recording):
    assert sorted(recording.probes) == [0, 3, 6, 9, 12, 15, 18, 21]


def test_an_invalid_call_counts_as_a_call():
    """Here the limit of tokens cuts it off before it names a crop."""
    model = awares_edge.scripted([["GET_CROPS: ['3']", "red"]] * 2, protocol="nano")
    asked = synthetic_questions("test", 0, 1)
    about = {"model": "s", "runtime": "null"}
    (row,) = record(model, about, asked, probes=0, max_new_tokens=11).rows
    assert row.called
    assert row.calls == ()


class TestSeveralCalls:
    """Nothing here counts on two turns."""

    OPENING, END = (1, 9), 2
    IDS = (5, IMAGE_CELL, IMAGE_CELL, 6, 1, 9, 30, 31, 2, 7, IMAGE_CELL, 8, 1, 9, 32, 2, 7)
    IDS += (IMAGE_CELL, IMAGE_CELL, 1, 9, 40, 41)

    def turns(self):
        def placed(cell, tokens):
            return PlacedImage(cell, EncodedImage(None, Grid(2, 2 * tokens)))

        images = [placed(1, 2), placed(10, 1), placed(17, 2)]
        return split_turns(self.IDS, images, self.OPENING, (self.END,))

    def test_a_cache_is_split_into_its_turns(self):
        assert self.turns() == (
            Turn(((5,), 0, (6, 1, 9)), (30, 31)),
            Turn(((2, 7), 1, (8, 1, 9)), (32,)),
            Turn(((2, 7), 2, (1, 9)), (40, 41)),
        )

    def test_each_row_has_its_phase(self):
        assert row_phases(self.turns()) == [
            "first turn", "call", "call", "after crops", "call", "after crops", "decode", "decode",
        ]  # fmt: skip

    def test_a_replay_in_three_turns_equals_one_pass(self, nano, recording):
        probe = recording.probes[0]
        image = nano.runtime.encode_image(probe.images[0])
        turns = [
            Turn(((40, 41), 0, (42, 43)), (50, 51)),
            Turn(((44,), 0, (45,)), (52,)),
            Turn(((46,), 0, (47,)), ()),
        ]
        logits, drift = replay(nano.runtime, turns, [image])
        parts = [
            TextSegment((40, 41)), ImageSegment(image), TextSegment((42, 43, 50, 51, 44)),
            ImageSegment(image), TextSegment((45, 52, 46)), ImageSegment(image), TextSegment((47,)),
        ]  # fmt: skip
        with nano.runtime.open_session() as session:
            count = sum(part.cells for part in parts)
            whole = session.prefill(parts, keep_logits=count)
        cells = image.grid.tokens
        rows = [cells + 3, cells + 4, cells + 5, 2 * cells + 7, 2 * cells + 8, 3 * cells + 10]
        assert np.abs(logits - whole[rows]).max() <= 2e-5 * whole.std()
        assert drift < 2e-5


class TestQuestions:
    def test_of_a_file_come_with_their_pictures(self, tmp_path):
        from PIL import Image

        Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
        lines = [
            '{"image": "a.png", "question": "What?", "answer": "red"}',
            "",
            '{"image":"a.png","question":"?"}',
        ]
        (tmp_path / "q.jsonl").write_text("\n".join(lines))
        found = read_questions(tmp_path / "q.jsonl")
        assert [asked.text for asked in found.asked] == ["What?", "?"]
        assert [asked.expected for asked in found.asked] == ["red", None]
        assert found.asked[0].load().size == (40, 30)
        assert len(read_questions(tmp_path / "q.jsonl", 1).asked) == 1
        assert found.asked[0].sha256 != found.asked[1].sha256

    def test_the_hash_sees_every_pixel(self, tmp_path):
        from PIL import Image

        hashes = set()
        (tmp_path / "q.jsonl").write_text('{"image": "a.png", "question": "What?"}')
        image = Image.new("RGB", (40, 30), "red")
        for pixel in ((255, 0, 0), (254, 0, 0)):
            image.putpixel((39, 29), pixel)
            image.save(tmp_path / "a.png")
            hashes.add(read_questions(tmp_path / "q.jsonl").sha256)
        assert len(hashes) == 2

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has no questions"),
            ("\n\n", "has no questions"),
            ("{", "line 1 is not valid JSON"),
            ('"text"', "line 1 must hold a JSON object"),
            (
                '{"image": "a.png", "question": "What?", "answer": 3}',
                "line 1.answer must be of type",
            ),
            ('{"image": 3, "question": "What?"}', "line 1.image must be of type str"),
            ('\n{"question": "What?"}', "line 2 lacks the field 'image'"),
            ('{"image": "none.png", "question": "What?"}', "no such image"),
            ('{"image": "none.png", "question": " "}', "the question is empty"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_refused(self, tmp_path, text, message):
        (tmp_path / "q.jsonl").write_text(text)
        with pytest.raises(InputError, match=message):
            read_questions(tmp_path / "q.jsonl")

    def test_synthetic_ones_are_the_same_everywhere(self):
        one, two = (synthetic_questions("test", 0, 7) for _ in range(2))
        assert one.sha256 == two.sha256
        assert one.sha256 != synthetic_questions("test", 1, 7).sha256
