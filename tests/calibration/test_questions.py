"""Questions to calibrate on: the user's file, and the synthetic suite."""

import numpy as np
import pytest

from awares_edge.calibration.questions import read_questions, synthetic_questions
from awares_edge.errors import InputError
from awares_edge.synth import SIDE, generate, is_sufficient


def write(tmp_path, *lines):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_file_of_questions(tmp_path):
    path = write(
        tmp_path,
        '{"image": "a.png", "question": "What?", "answer": "a"}',
        "",
        '{"image": "/b.png", "question": "Wo ist es?", "crops": []}',
        '{"image": "c/d.png", "question": "?", "crops": ["1", "2"]}',
    )
    found = read_questions(path)
    assert [str(q.image) for q in found] == [
        *(str(tmp_path / "a.png"), "/b.png", str(tmp_path / "c" / "d.png")),
    ]
    assert [q.question for q in found] == ["What?", "Wo ist es?", "?"]
    assert [q.crops for q in found] == [None, (), ("1", "2")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must hold a JSON object"),
        ("3", "must hold a JSON object"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"image": "a.png"}', "lacks the field 'question'"),
        ('{"image": 1, "question": ""}', "image must be of type str"),
        ('{"image": "a", "question": "", "crops": 4}', "crops must be a list"),
        ('{"image": "a", "question": "", "crops": "12"}', "crops must be a list"),
        ('{"image": "a", "question": "", "crops": [1]}', r"crops\[0\] must be of type str"),
        ('{"image": "a", "image": "b", "question": ""}', "the key 'image' twice"),
    ],
)
def test_lines_of_another_form_are_named(tmp_path, line, message):
    path = write(tmp_path, '{"image": "a.png", "question": "?"}', line)
    with pytest.raises(InputError, match=f"line 2.*{message}"):
        read_questions(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        read_questions(tmp_path / "none")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        read_questions(tmp_path)
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_questions(tmp_path / "latin")


def test_half_of_the_synthetic_questions_have_two_turns():
    found = synthetic_questions(24)
    assert len(found) == 24
    turns = [bool(q.crops) for q in found]
    assert 8 <= sum(turns) <= 16
    assert len({q.question for q in found}) > 12
    assert all(np.asarray(q.image).shape == (SIDE, SIDE, 3) for q in found)
    assert [(q.question, q.crops) for q in synthetic_questions(24)] == [
        (q.question, q.crops) for q in found
    ]


def test_the_crops_hold_the_evidence():
    for index, (_, small) in enumerate(zip(*[iter(synthetic_questions(12))] * 2, strict=True)):
        sample = generate("train", 0, index)
        evidence = next(q.evidence for q in sample.questions if q.text == small.question)
        assert np.array_equal(sample.picture, small.image)
        assert is_sufficient(evidence, small.crops)
