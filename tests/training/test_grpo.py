"""GRPO: reward, loss by hand, rollouts as the device would see them, learning, resuming."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from awares_edge.checkpoint.checkpoint import Checkpoint  # noqa: E402
from awares_edge.checkpoint.lora import Adapter  # noqa: E402
from awares_edge.errors import EndpointError  # noqa: E402
from awares_edge.training import grpo  # noqa: E402
from awares_edge.training import rollout as rollouts  # noqa: E402
from awares_edge.training.encoding import IGNORE, Conversation  # noqa: E402
from awares_edge.training.errors import ReplyError, TrainingError  # noqa: E402
from awares_edge.training.grpo import (  # noqa: E402
    GrpoConfig,
    GrpoRun,
    advantages,
    grpo_loss,
    run_grpo,
)
from awares_edge.training.judges import ExactJudge  # noqa: E402
from awares_edge.training.likelihood import log_likelihoods  # noqa: E402
from awares_edge.training.loading import Loaded, load_for_training  # noqa: E402
from awares_edge.training.metrics import MetricsLog  # noqa: E402
from awares_edge.training.reward import ToolCost, area_share  # noqa: E402
from awares_edge.training.rollout import roll_out  # noqa: E402
from awares_edge.training.sft import SftConfig, run_sft  # noqa: E402
from awares_edge.training.trajectories import Trajectory, open_image  # noqa: E402
from tests.training.conftest import damage  # noqa: E402


def test_reward_is_asymmetric() -> None:
    assert area_share("0") == area_share("4") == 0.25
    assert area_share("5") == 0.5
    assert area_share("all") == 1.0
    cost = ToolCost()
    assert cost.cost(True, (), False) == 2.0
    assert cost.cost(False, ("0",), True) == pytest.approx(0.5)
    assert cost.cost(True, ("0",), True) == pytest.approx(0.25)
    assert cost.cost(False, (), False) == 0.0
    assert cost.reward(1.0, needed=False, crops=(), called=False) == 10.0
    assert cost.reward(0.5, needed=True, crops=(), called=True) == 3.0


def test_advantages_are_centred_and_scaled_within_a_group() -> None:
    two = advantages(torch.tensor([[1.0, 3.0], [5.0, 5.0]]))
    assert torch.allclose(two, torch.tensor([[-1.0, 1.0], [0.0, 0.0]]), atol=1e-3)
    # Nothing is learnt from what could not be judged, and the others are compared among themselves.
    three = advantages(torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
    assert torch.allclose(three, torch.tensor([[-1.0, 1.0, 0.0]]), atol=1e-3)


def test_the_loss_by_hand() -> None:
    # Two conversations; the second has one token, and one position that is padding.
    logp = torch.tensor([[0.5, -0.1], [-0.4, 7.0]], requires_grad=True)
    old = torch.zeros(2, 2)
    reference = torch.tensor([[0.2, -0.1], [0.0, -9.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    loss, kl = grpo_loss(
        logp, old, reference, torch.tensor([2.0, -1.0]), mask, clip=0.2, beta=0.5
    )  # fmt: skip
    e = torch.tensor(1.0).exp().item()
    k3 = [e**-0.3 + 0.3 - 1, 0.0, e**0.4 - 0.4 - 1]
    # min(ratio A, clipped A): gains stop at 1.2 A, and a loss that shrinks its ratio at 0.8 A.
    first = -((1.2 * 2 - 0.5 * k3[0]) + (e**-0.1 * 2)) / 2
    second = -(-0.8 - 0.5 * k3[2])
    assert loss.tolist() == pytest.approx([first, second], rel=1e-5)
    assert kl.tolist() == pytest.approx([k3[0] / 2, k3[2]], rel=1e-5)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    slope = logp.grad
    assert slope is not None
    assert slope[1, 1] == 0.0
    # Where the ratio is clipped only the KL has a gradient, towards the reference.
    assert slope[0, 0].item() == pytest.approx(0.5 * (1 - e**-0.3) / 2, rel=1e-4)
    assert slope[1, 0].item() == pytest.approx(0.5 * (1 - e**0.4), rel=1e-4)


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> Loaded:
    return load_for_training(checkpoint, "nano")


def test_rollouts_hold_sampled_tokens_only(loaded: Loaded, rows: list[Trajectory]) -> None:
    torch.manual_seed(0)
    image = open_image(rows[0].image, Path())
    (group,) = roll_out(loaded, [(image, rows[0].question)], 3, max_new_tokens=5, batch=2)
    assert len(group) == 3
    start = loaded.encoder.first_turn(image, rows[0].question).ids
    for rollout in group:
        ids, labels = rollout.conversation.ids, rollout.conversation.labels
        assert ids[: len(start)] == start
        assert all(a == b for a, b in zip(ids, labels, strict=True) if b != IGNORE)
        assert sum(b != IGNORE for b in labels) <= 5
    assert any(a.conversation.ids != group[0].conversation.ids for a in group[1:])


def test_a_two_turn_rollout_is_the_trajectory_that_sft_would_build(
    loaded: Loaded, rows: list[Trajectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    row, encoder = rows[0], loaded.encoder
    end = encoder.special.im_end
    call = encoder.tokenizer.encode(encoder.profile.crop_call(row.crops))
    replies = [
        [[*call, end], call, [*encoder.tokenizer.encode("NO"), end]],  # the second is cut off
        [[*encoder.tokenizer.encode(row.answer), end]],
    ]

    def scripted(_: Loaded, given: Sequence[Conversation], *__: int) -> list[list[int]]:
        assert len(given) == len(replies[0])
        return replies.pop(0)

    monkeypatch.setattr(rollouts, "_sample", scripted)
    image = open_image(row.image, Path())
    (group,) = roll_out(loaded, [(image, row.question)], 3, max_new_tokens=9)
    expected = encoder.trajectory(image, row.question, row.answer, row.crops)
    assert group[0].conversation.ids == expected.ids
    assert group[0].conversation.labels == expected.labels
    assert group[0].conversation.grids == expected.grids
    assert [g.answer for g in group] == [
        row.answer,
        encoder.profile.crop_call(row.crops),
        "NO",
    ]
    # An incomplete call shows no crop, and does not count as a look.
    assert [g.crops for g in group] == [row.crops, (), ()]
    assert [g.call.status for g in group] == ["ok", "ok", "none"]


def test_sampling_is_from_the_distribution_that_is_scored(
    checkpoint: Path, tmp_path: Path, rows: list[Trajectory]
) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    # As Qwen ships it, only stronger.
    (tmp_path / "generation_config.json").write_text(
        '{"repetition_penalty": 9.0, "temperature": 0.01, "top_k": 1, "min_p": 0.9}'
    )
    prompt = [(open_image(rows[0].image, Path()), rows[0].question)]
    sampled = []
    for folder in (checkpoint, tmp_path):
        torch.manual_seed(3)
        (group,) = roll_out(load_for_training(folder, "nano"), prompt, 4, max_new_tokens=6)
        sampled.append([x.conversation.ids for x in group])
    assert sampled[0] == sampled[1]


@pytest.fixture
def config(checkpoint: Path, data: Path, tmp_path: Path) -> GrpoConfig:
    return GrpoConfig(
        checkpoint, data, tmp_path / "run", protocol="nano", lora_rank=0, lr=1e-3, steps=2,
        prompts=2, group=3, max_new_tokens=6, save_steps=1,
    )  # fmt: skip


class _Unusable(ExactJudge):
    def score(self, *_: str) -> float:
        raise ReplyError("no digit")


def test_a_judge_without_usable_replies_ends_the_run(
    config: GrpoConfig, rows: list[Trajectory]
) -> None:
    run = GrpoRun(replace(config, prompts=8), _Unusable())
    with pytest.raises(EndpointError, match="20 replies in a row"):
        run.train_step(rows, Path())


def test_a_run_resumes_over_the_same_rows_only(
    config: GrpoConfig, rows: list[Trajectory], tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(r.to_json() + "\n" for r in rows))
    config = replace(config, trajectories=path)
    run_grpo(config, _Lengths())
    path.write_text("".join(r.to_json() + "\n" for r in rows[:3]))
    with pytest.raises(TrainingError, match="begun with rows ="):
        run_grpo(config, _Lengths())


def test_a_damaged_state_is_refused(config: GrpoConfig) -> None:
    run_grpo(config, _Lengths())
    (config.out / "state.pt").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(TrainingError, match=r"state\.pt is damaged"):
        run_grpo(config, _Lengths())


def test_a_model_that_diverges_stops_the_run(config: GrpoConfig) -> None:
    with pytest.raises(TrainingError, match="lower the learning rate"):
        run_grpo(replace(config, lr=1e30, steps=4), _Lengths())


def test_a_damaged_picture_costs_its_row_and_not_the_run(
    config: GrpoConfig, pictures: Path
) -> None:
    reported: list[str] = []

    def later(step: int, _steps: int) -> None:
        for n in range(6):  # one of the seven good ones is left
            damage(pictures.parent / f"{n}.png")

    run_grpo(replace(config, trajectories=pictures, steps=3), _Lengths(), reported.append, later)
    listed = json.loads((config.out / "skipped.json").read_text())
    named = {reason.split(":")[0] for reason in listed["rows"]}
    assert "row 7" in named
    assert listed["skipped"] == len(named) > 1
    assert reported[-1].startswith(f"{len(named)} rows left out")
    assert [line["step"] for line in MetricsLog(config.out).read()] == [1, 2, 3]


def test_a_crop_that_is_too_narrow_is_not_shown(
    config: GrpoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = GrpoRun(config).loaded
    call = [
        *loaded.encoder.tokenizer.encode(loaded.encoder.profile.crop_call(("7",))),
        loaded.encoder.special.im_end,
    ]
    monkeypatch.setattr(rollouts, "_sample_batch", lambda _, rows, __: [call for _ in rows])
    (group,) = roll_out(loaded, [(Image.new("RGB", (10, 1500)), "Q?")], 2, max_new_tokens=9)
    assert [x.call.ids for x in group] == [("7",)] * 2
    assert [x.crops for x in group] == [()] * 2
    assert all(len(x.conversation.grids) == 1 for x in group)
    (group,) = roll_out(loaded, [(Image.new("RGB", (10, 150)), "Q?")], 2, max_new_tokens=9)
    assert [x.crops for x in group] == [("7",)] * 2


class _Lengths(ExactJudge):
    """Rewards that differ within a group, from any model."""

    def score(self, question: str, reference: str, answer: str) -> float:
        if len(answer) % 5 == 4:
            raise ReplyError("no digit")
        return (len(answer) % 5) / 4


def test_a_step_is_the_same_in_parts_of_any_size(config: GrpoConfig, tmp_path: Path) -> None:
    runs = [GrpoRun(replace(config, batch=b, out=tmp_path / str(b)), _Lengths()) for b in (6, 2)]
    torch.manual_seed(5)
    image = open_image("synth:train:0:0", Path())
    (group,) = roll_out(runs[0].loaded, [(image, "What is the title?")], 6, max_new_tokens=5)
    gains = torch.tensor([1.0, -1.0, 0.5, 0.0, -0.5, 2.0])
    stats = [r._update([x.conversation for x in group], gains) for r in runs]
    assert stats[0] == pytest.approx(stats[1], rel=1e-4)


def test_a_run_resumes_exactly_and_counts_unusable_replies(
    config: GrpoConfig, data: Path, rows: list[Trajectory], tmp_path: Path
) -> None:
    final = run_grpo(config, _Lengths())
    lines = MetricsLog(config.out).read()
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["grad_norm"] > 0
    assert any(0 < line["unjudged"] < 1 for line in lines)
    assert (config.out / "curve.png").is_file()

    half = replace(config, out=tmp_path / "half")
    run = GrpoRun(half, _Lengths())
    run.train_step(rows, data.parent)
    run.save()
    again = run_grpo(half, _Lengths())
    for name in ("final/model.safetensors", "metrics.jsonl"):
        assert (half.out / name).read_bytes() == (config.out / name).read_bytes()
    assert again.name == final.name == "final"


def test_several_passes_share_the_sampling_policys_likelihoods(
    config: GrpoConfig, rows: list[Trajectory], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(logp: torch.Tensor, old: torch.Tensor, *rest: torch.Tensor, **more: float) -> Any:
        seen.append((logp.detach(), old))
        return grpo_loss(logp, old, *rest, **more)

    monkeypatch.setattr(grpo, "grpo_loss", watched)
    GrpoRun(replace(config, inner=3), _Lengths()).train_step(rows, data.parent)
    (first, old), (second, same), (third, again) = seen
    assert torch.equal(first, old)
    assert old is same is again
    assert not torch.equal(second, old)
    assert not torch.equal(third, second)


def test_a_nan_gradient_leaves_weights_and_state_unchanged(
    config: GrpoConfig, rows: list[Trajectory], data: Path
) -> None:
    run = GrpoRun(config, _Lengths())
    run.train_step(rows, data.parent)
    run.save()
    weights = [p.clone() for p in run.trainable]
    saved = run.state_path.read_bytes()
    run.trainable[0].register_hook(lambda g: g * float("inf"))
    with pytest.raises(TrainingError, match="NaN or infinite at step 1"):
        run.train_step(rows, data.parent)
    assert all(torch.equal(a, b) for a, b in zip(weights, run.trainable, strict=True))
    assert run.state_path.read_bytes() == saved


def test_an_adapter_goes_from_sft_to_grpo_and_onto_its_base(
    config: GrpoConfig, checkpoint: Path, data: Path, tmp_path: Path, rows: list[Trajectory]
) -> None:
    pytest.importorskip("peft")
    start = run_sft(
        SftConfig(checkpoint, data, tmp_path / "sft", protocol="nano", lora_rank=4, lr=3e-3,
                  max_steps=4, batch=4)
    )  # fmt: skip
    run = GrpoRun(replace(config, checkpoint=start, lora_rank=4), _Lengths())
    image = open_image(rows[0].image, Path())
    (group,) = roll_out(run.loaded, [(image, rows[0].question)], 2, max_new_tokens=4)
    conversations = [x.conversation for x in group]

    def likelihoods(model: object) -> torch.Tensor:
        with torch.no_grad():
            return log_likelihoods(run.loaded, model, conversations)[0]

    with run.reference() as model:
        before = likelihoods(model)
    assert torch.equal(before, likelihoods(run.model))  # the start is what SFT left, not its base
    with run.model.disable_adapter():
        assert not torch.allclose(before, likelihoods(run.model), atol=1e-3)
    run.train_step(rows, data.parent)
    with run.reference() as model:
        assert torch.equal(before, likelihoods(model))
    assert not torch.equal(before, likelihoods(run.model))
    assert all(p.requires_grad for p in run.trainable)

    final = run_grpo(replace(config, checkpoint=start, lora_rank=4, out=tmp_path / "g"), _Lengths())
    adapter = Adapter.open(final, Checkpoint.open(checkpoint))
    assert len(adapter.updates) == 4 * 7


@pytest.mark.slow
def test_grpo_unlearns_needless_calls(
    checkpoint: Path, rows: list[Trajectory], tmp_path: Path
) -> None:
    # A start that calls half the time: every question is taught both ways.
    asked = [r for r in rows if r.label == "LR"][:3]
    both = [
        Trajectory(f"{r.id}{label}", r.image, r.question, r.answer, label, crops)
        for r in asked
        for label, crops in (("LR", ()), ("HR", ("0",)))
    ]
    path = tmp_path / "both.jsonl"
    path.write_text("".join(t.to_json() + "\n" for t in both))
    sft = SftConfig(
        checkpoint, path, tmp_path / "sft", protocol="nano", lora_rank=0, lr=1e-3, max_steps=60,
        batch=6, tool_weight=1.0, save_steps=100, epochs=1.0,
    )  # fmt: skip
    # Nothing needs a closer look, and looking is dear: the policy should stop calling.
    run = GrpoRun(
        GrpoConfig(
            run_sft(sft), path, tmp_path / "grpo", protocol="nano", lora_rank=0, lr=1e-4, steps=12,
            prompts=3, group=8, batch=24, cost=ToolCost(use=8.0), max_new_tokens=10,
        )
    )  # fmt: skip
    run.train(asked, Path())
    lines = MetricsLog(run.config.out).read()
    first, last = lines[:4], lines[-4:]
    assert sum(x["reward"] for x in last) > sum(x["reward"] for x in first)
    assert sum(x["called"] for x in last) < sum(x["called"] for x in first)
