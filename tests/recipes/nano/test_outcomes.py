"""Outcome labels: a question is hard if it is wrong at low resolution and right in full view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from awares_edge.synth.generate import generate  # noqa: E402
from awares_edge.training.errors import TrainingError  # noqa: E402
from recipes.nano.batches import Batches, Mix  # noqa: E402
from recipes.nano.config import build_model  # noqa: E402
from recipes.nano.language_stage import LanguageConfig, LanguageStage  # noqa: E402
from recipes.nano.outcomes import Asked, hard_questions, is_asked  # noqa: E402
from recipes.nano.packed_model import ARRAYS  # noqa: E402
from recipes.nano.views import Slots  # noqa: E402

SLOTS = Slots(pictures=3, crops=6, wide=1, tall=1)
DOCUMENTS = Mix(documents=1.0)


def data(mix: Mix = DOCUMENTS) -> Batches:
    return Batches("train", 7, SLOTS, mix)


def as_tensors(batch: dict[str, Any]) -> dict[str, Any]:
    return {k: torch.as_tensor(v) if k in ARRAYS else v for k, v in batch.items()}


def test_large_text_is_asked_about_at_both_resolutions_on_the_stage_s_own_pictures() -> None:
    asked = {unit[0] for unit in Asked(data())[1]["units"]}
    wanted = set()
    for index in range(3, 6):
        questions = generate("train", 7, index, family="document").questions
        large = [n for n, q in enumerate(questions) if q.size == "large"]
        assert large == [n for n, q in enumerate(questions) if is_asked(q)]
        wanted |= {f"{view} {index} {n}" for view in ("low", "all") for n in large}
    assert asked == wanted


def answers(wrong: set[str]) -> Any:
    """A forward that is right about every span except those in ``wrong``."""
    batches = iter(as_tensors(Asked(data())[i]) for i in range(2))

    def forward(**arrays: Any) -> tuple[None, None, Any]:
        batch = next(batches)
        assert torch.equal(arrays["ids"], batch["ids"])
        said = batch["targets"].clone()
        places = batch["places"].tolist()
        for kind, start, _ in batch["units"]:
            if kind in wrong:
                said[places.index(start)] += 1
        return None, None, said

    return forward


def test_hard_is_wrong_at_low_resolution_and_right_in_full_view() -> None:
    both = [Asked(data())[i]["units"] for i in range(2)]
    first, second, third = [k.split(" ", 1)[1] for u in both for k, *_ in u if k[:3] == "low"][:3]
    wrong = {f"low {first}", f"low {second}", f"all {second}", f"all {third}"}
    reported: list[int] = []
    cpu = torch.device("cpu")
    hard = hard_questions(answers(wrong), data(), 2, cpu, workers=0, progress=reported.append)
    index, number = map(int, first.split())
    assert hard == {index: [number]}
    assert reported == [1, 2]


def calls(batches: Batches) -> int:
    return sum(kind == "call" for i in range(4) for kind, *_ in batches[i]["units"])


def test_hard_questions_are_called_for_and_the_others_answered_as_before() -> None:
    batches = data(Mix(documents=1.0, full_rows=0.0, low=(0.2, 0.6, 0.2)))
    before = calls(batches)
    batches.hard = {
        index: [n for n, q in enumerate(s.questions) if is_asked(q)]
        for i in range(4)
        for index, s in batches.pictures(i)
    }
    kinds = {kind for i in range(4) for kind, *_ in batches[i]["units"]}
    assert calls(batches) > before
    assert "low large" not in kinds
    assert {"low none", "crop"} <= kinds


def test_a_resumed_stage_reads_its_labels(tmp_path: Path) -> None:
    config = LanguageConfig(slots=SLOTS, mix=DOCUMENTS, outcomes=True)
    stage = LanguageStage(build_model(1), config, compiled=False)
    path = tmp_path / "outcomes.json"
    path.write_text(json.dumps({"4": [2, 3]}))
    stage.label(path, workers=0)
    assert stage.data.hard == {4: [2, 3]}


@pytest.mark.parametrize("text", ["", "[1]", '{"a": [1]}', '{"1": 2}', "\x00"])
def test_a_file_that_is_not_a_labels_file_is_reported(tmp_path: Path, text: str) -> None:
    config = LanguageConfig(slots=SLOTS, mix=DOCUMENTS, outcomes=True)
    stage = LanguageStage(build_model(1), config, compiled=False)
    (tmp_path / "outcomes.json").write_text(text)
    with pytest.raises(TrainingError, match="remove it to make the labels again"):
        stage.label(tmp_path / "outcomes.json", workers=0)


def test_a_stage_without_outcomes_asks_nothing(tmp_path: Path) -> None:
    stage = LanguageStage(build_model(1), LanguageConfig(slots=SLOTS), compiled=False)
    stage.label(tmp_path / "outcomes.json", workers=0)
    assert not list(tmp_path.iterdir())
    assert stage.data.hard == {}
