"""Supervised fine-tuning: masks, loss, learning at smoke size, resuming bit for bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from awares_edge.errors import CheckpointError, InputError  # noqa: E402
from awares_edge.training.encoding import IGNORE, collate  # noqa: E402
from awares_edge.training.errors import TrainingError  # noqa: E402
from awares_edge.training.likelihood import (  # noqa: E402
    label_logits,
    log_likelihoods,
    weighted_nll,
)
from awares_edge.training.loading import load_for_training  # noqa: E402
from awares_edge.training.metrics import MetricsLog  # noqa: E402
from awares_edge.training.sft import (  # noqa: E402
    SftConfig,
    TrajectoryDataset,
    latest_checkpoint,
    run_sft,
)
from awares_edge.training.trajectories import Trajectory, open_image  # noqa: E402
from tests.training.conftest import damage  # noqa: E402


def test_only_assistant_tokens_are_supervised(checkpoint: Path, rows: list[Trajectory]) -> None:
    loaded = load_for_training(checkpoint, "nano")
    row = rows[0]
    image = open_image(row.image, Path())
    conversation = loaded.encoder.trajectory(image, row.question, row.answer, row.crops, 5.0)
    learnt = [i for i in conversation.labels if i != IGNORE]
    text = loaded.encoder.tokenizer.decode(learnt)
    assert text == f"GET_CROPS: ['{row.crops[0]}']{row.answer}"
    ends = [i for i in learnt if i == loaded.encoder.special.im_end]
    assert len(ends) == 2
    assert set(conversation.weights) == {0.0, 1.0, 5.0}
    turn_one = loaded.encoder.first_turn(image, row.question)
    assert conversation.ids[: len(turn_one.ids)] == turn_one.ids


def test_weighted_nll_by_hand() -> None:
    logits = torch.zeros(1, 2, 4)
    logits[0, 0, 2] = 3.0
    loss = weighted_nll(logits, torch.tensor([[2, 1]]), torch.tensor([[5.0, 1.0]]))
    first, second = torch.log_softmax(logits[0], -1)[[0, 1], [2, 1]]
    assert float(loss) == pytest.approx(-(5 * float(first) + float(second)) / 6, rel=1e-5)
    half = weighted_nll(logits, torch.tensor([[2, IGNORE]]), torch.tensor([[5.0, 1.0]]))
    assert float(half) == pytest.approx(-float(first), rel=1e-5)


def test_the_head_gives_the_same_logits_on_labelled_positions_only(
    checkpoint: Path, data: Path, rows: list[Trajectory]
) -> None:
    loaded = load_for_training(checkpoint, "nano")
    both = [TrajectoryDataset(loaded, rows, data.parent, 5.0)[i] for i in (0, -1)]
    batch = collate(both, loaded.encoder.special.image_pad, loaded.pad)
    with torch.no_grad():
        logits, labels, weights = label_logits(loaded, loaded.model, batch)
        whole = loaded.model(**loaded.inputs(batch)).logits[:, :-1].float()
    assert logits.shape[1] == labels.shape[1] < whole.shape[1] / 2
    mine = weighted_nll(logits, labels, weights)
    theirs = weighted_nll(whole, batch["labels"][:, 1:], batch["loss_weights"][:, 1:])
    assert float(mine) == pytest.approx(float(theirs), rel=1e-6)
    with torch.no_grad():
        likelihoods, mask = log_likelihoods(loaded, loaded.model, both)
    assert mask.sum(1).tolist() == [sum(i != IGNORE for i in c.labels) for c in both]
    assert not likelihoods[mask == 0].any()


def test_padding_does_not_change_logits(checkpoint: Path, rows: list[Trajectory]) -> None:
    loaded = load_for_training(checkpoint, "nano")
    special = loaded.encoder.special
    both = [
        loaded.encoder.trajectory(open_image(r.image, Path()), r.question, r.answer, r.crops)
        for r in (rows[0], rows[-1])
    ]
    short = min(both, key=lambda c: len(c.ids))
    place = both.index(short)
    with torch.no_grad():
        alone = loaded.model(**loaded.inputs(collate([short], special.image_pad, loaded.pad)))
        for left in (False, True):
            batch = collate(both, special.image_pad, loaded.pad, left=left)
            logits = loaded.model(**loaded.inputs(batch)).logits[place]
            real = batch["attention_mask"][place].bool()
            assert torch.allclose(logits[real], alone.logits[0], atol=2e-5)


@pytest.fixture
def config(checkpoint: Path, data: Path, tmp_path: Path) -> SftConfig:
    return SftConfig(
        checkpoint, data, tmp_path / "whole", protocol="nano", lora_rank=0, lr=2e-3, max_steps=8,
        batch=4, save_steps=4, log_steps=1, epochs=1.0,
    )  # fmt: skip


def test_sft_learns_and_resumes_exactly(config: SftConfig, tmp_path: Path) -> None:
    run_sft(config)
    losses = [line["loss"] for line in MetricsLog(config.out).read()]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert (config.out / "curve.png").stat().st_size > 1000

    # The same run, killed after its first checkpoint, its last line of metrics cut off.
    half = tmp_path / "half"
    half.mkdir()
    (config.out / "checkpoint-4").rename(half / "checkpoint-4")
    lines = (config.out / "metrics.jsonl").read_text().splitlines(keepends=True)
    (half / "metrics.jsonl").write_text("".join(lines[:5]) + lines[5][:9])
    assert latest_checkpoint(half) == half / "checkpoint-4"
    run_sft(replace(config, out=half))
    for name in ("final/model.safetensors", "metrics.jsonl"):
        assert (half / name).read_bytes() == (config.out / name).read_bytes()

    # A run that is done stays as it is, and gives its result again.
    (half / "final" / "model.safetensors").unlink()
    run_sft(replace(config, out=half))
    for name in ("final/model.safetensors", "metrics.jsonl"):
        assert (half / name).read_bytes() == (config.out / name).read_bytes()


def test_an_incomplete_checkpoint_is_ignored(config: SftConfig) -> None:
    run_sft(config)
    newest, before = config.out / "checkpoint-8", config.out / "checkpoint-4"
    (config.out / "checkpoint-best").mkdir()
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"):
        file = newest / name
        whole = file.read_bytes()
        assert latest_checkpoint(config.out) == newest
        file.write_bytes(whole[: len(whole) // 2])
        assert latest_checkpoint(config.out) == before, name
        file.write_bytes(whole)


def test_another_run_cannot_resume_in_the_same_folder(config: SftConfig) -> None:
    run_sft(replace(config, max_steps=1))
    with pytest.raises(TrainingError, match=r"begun with max_steps = 1: give the same to resume"):
        run_sft(replace(config, max_steps=2))
    (config.out / "run.json").write_text("[]")
    with pytest.raises(TrainingError, match="cannot be read"):
        run_sft(replace(config, max_steps=1))
    shutil.rmtree(config.out / "checkpoint-1")  # no checkpoint is left to resume from
    run_sft(replace(config, max_steps=1, lr=1e-3))


def test_accumulated_batches_are_averaged(config: SftConfig, rows: list[Trajectory]) -> None:
    config.out.mkdir()
    path = config.out / "same.jsonl"
    path.write_text((rows[0].to_json() + "\n") * 8)
    norms = []
    for batch, accumulate in ((4, 1), (2, 2)):
        out = config.out / str(accumulate)
        run_sft(
            replace(
                config, trajectories=path, out=out, batch=batch, accumulate=accumulate, max_steps=1
            )
        )
        (line,) = MetricsLog(out).read()
        norms.append(line["grad_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_recomputed_activations_change_nothing(config: SftConfig) -> None:
    run_sft(replace(config, max_steps=2))
    again = replace(config, max_steps=2, checkpointing=True, out=config.out / "less")
    run_sft(again)
    mine, theirs = (MetricsLog(c.out).read() for c in (config, again))
    assert [x["loss"] for x in mine] == pytest.approx([x["loss"] for x in theirs], rel=1e-4)


def test_lora_trains_only_an_adapter(config: SftConfig) -> None:
    pytest.importorskip("peft")
    final = run_sft(replace(config, lora_rank=4, max_steps=2))
    assert (final / "adapter_config.json").is_file()
    assert not (final / "model.safetensors").exists()


def test_bad_rows_are_reported(checkpoint: Path, tmp_path: Path, rows: list[Trajectory]) -> None:
    path = tmp_path / "bad.jsonl"
    gone = json.loads(rows[0].to_json())
    bad = [
        {**gone, "image": "gone.png"},
        {**gone, "crops": None},
        {**gone, "crops": "all"},
        {**gone, "crops": ["9"]},
        {**gone, "crops": ["0", "all"]},
        {**gone, "boxes": [[0, 0, float("nan"), 5]]},
        {**gone, "question": "why " * 10_000},
        {**gone, "label": "LR"},
    ]
    path.write_text("".join(json.dumps(b) + "\n" for b in bad) + "{\n")
    reported: list[str] = []
    with pytest.raises(TrainingError, match="no usable trajectory"):
        run_sft(SftConfig(checkpoint, path, tmp_path / "o", protocol="nano"), reported.append)
    assert len(reported) == len(bad) + 1
    assert not (tmp_path / "o").exists()


def test_a_damaged_picture_costs_its_row_and_not_the_run(config: SftConfig, pictures: Path) -> None:
    reported: list[str] = []

    def later(step: int, _steps: int) -> None:
        if step == 1:
            damage(pictures.parent / "2.png")

    run_sft(replace(config, trajectories=pictures), reported.append, later)
    listed = json.loads((config.out / "skipped.json").read_text())
    assert listed["skipped"] == 2
    assert [reason.split(":")[0] for reason in listed["rows"]] == ["row 7", "row 2"]
    assert reported == [
        *listed["rows"],
        f"2 rows left out, listed in {config.out / 'skipped.json'}",
    ]


def test_the_run_ends_if_no_picture_can_be_read(
    checkpoint: Path, rows: list[Trajectory], tmp_path: Path
) -> None:
    gone = [replace(row, image=f"gone {n}.png") for n, row in enumerate(rows)]
    data = TrajectoryDataset(load_for_training(checkpoint, "nano"), gone, tmp_path, 5.0)
    with pytest.raises(TrainingError, match="none of the trajectories"):
        data[0]
    assert len(data.skipped.reasons) == len(rows)


def test_a_crop_that_is_too_narrow_costs_its_row(
    checkpoint: Path, rows: list[Trajectory], tmp_path: Path
) -> None:
    Image.new("RGB", (10, 1500)).save(tmp_path / "tall.png")
    tall = replace(rows[0], id="tall", image="tall.png", crops=("7",))
    data = TrajectoryDataset(load_for_training(checkpoint, "nano"), [tall, rows[1]], tmp_path, 5.0)
    assert data[0].ids == data[1].ids
    assert [reason[:6] for reason in data.skipped.reasons] == ["tall: "]


def test_a_start_that_cannot_be_trained_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_for_training(tmp_path, "nano")
    with pytest.raises(InputError, match="no dtype"):
        load_for_training(checkpoint, "nano", dtype="Module")
    with pytest.raises(InputError, match="lose small updates"):
        load_for_training(checkpoint, "nano", dtype="bfloat16")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "gone"}')
    with pytest.raises(CheckpointError, match="adapter of gone, which is not a checkpoint folder"):
        load_for_training(tmp_path, "nano", lora_rank=4)


def test_an_incomplete_or_foreign_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights[min(weights)]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError):
        load_for_training(tmp_path, "nano")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(CheckpointError, match="llama"):
        load_for_training(tmp_path, "nano")


def test_an_adapter_can_be_merged_and_every_weight_trained(config: SftConfig) -> None:
    pytest.importorskip("peft")
    start = run_sft(replace(config, lora_rank=4, max_steps=1))
    final = run_sft(replace(config, checkpoint=start, max_steps=1, out=config.out / "full"))
    assert (final / "model.safetensors").is_file()
    assert not (final / "adapter_config.json").exists()


def test_training_sees_the_checkpoints_own_pixels(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_mean": [0.5, 0.5, 0.5]}))
    assert load_for_training(tmp_path, "nano").encoder.preprocessing.image_mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_nan_loss_or_gradient_stops_before_the_weights_change(
    config: SftConfig, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from awares_edge.training import sft

    real, calls = sft.weighted_nll, []

    def spoilt(*given: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        loss = real(*given)
        if len(calls) < 6:
            return loss
        if what == "loss":
            return loss * float("nan")
        return loss + (loss - loss.detach()).sqrt()  # finite, with an infinite slope

    monkeypatch.setattr(sft, "weighted_nll", spoilt)
    with pytest.raises(TrainingError, match=rf"{what} is NaN or infinite at step 5.*checkpoint-4"):
        run_sft(config)
    assert not (config.out / "final").exists()
