"""SFT and GRPO: masks, losses, learning at smoke size, resuming bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from awares_edge.errors import CheckpointError  # noqa: E402
from awares_edge.synth import generate, smallest_crops  # noqa: E402
from awares_edge.training.encoding import IGNORE, collate  # noqa: E402
from awares_edge.training.errors import TrainingError  # noqa: E402
from awares_edge.training.grpo import (  # noqa: E402
    GrpoConfig,
    GrpoRun,
    advantages,
    grpo_loss,
)
from awares_edge.training.judges import ExactJudge  # noqa: E402
from awares_edge.training.loading import load_for_training  # noqa: E402
from awares_edge.training.metrics import MetricsLog  # noqa: E402
from awares_edge.training.nano.config import build_model  # noqa: E402
from awares_edge.training.nano.save import save_checkpoint  # noqa: E402
from awares_edge.training.reward import ToolCost, area_share, reward  # noqa: E402
from awares_edge.training.rollout import Sampling, roll_out  # noqa: E402
from awares_edge.training.sft import SftConfig, latest_checkpoint, run_sft, weighted_nll  # noqa: E402
from awares_edge.training.trajectories import Trajectory, open_image  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano") / "checkpoint"
    save_checkpoint(build_model(0), folder, {})
    return folder


@pytest.fixture(scope="module")
def rows() -> list[Trajectory]:
    out = []
    for index in range(4):
        name = f"synth:train:0:{index}"
        for n, q in enumerate(generate("train", 0, index).questions):
            high = q.size == "small"
            crops = smallest_crops(q.evidence) if high else ()
            label = "HR" if high else "LR"
            out.append(Trajectory(f"{name}:{n}", name, q.text, q.answer, label, crops))
    high = [r for r in out if r.label == "HR" and r.crops != ("all",)][:4]
    return high + [r for r in out if r.label == "LR"][:4]


@pytest.fixture(scope="module")
def data(rows: list[Trajectory], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "t.jsonl"
    path.write_text("".join(r.to_json() + "\n" for r in rows))
    return path


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
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 2] = 3.0
    labels = torch.tensor([[IGNORE, 2, 1]])
    loss = weighted_nll(logits, labels, torch.tensor([[0.0, 5.0, 1.0]]))
    first, second = torch.log_softmax(logits[0, :2], -1)[[0, 1], [2, 1]]
    assert float(loss) == pytest.approx(-(5 * float(first) + float(second)) / 6, rel=1e-5)


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


def test_sft_learns_and_resumes_bit_for_bit(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    def config(name: str, steps: int) -> SftConfig:
        return SftConfig(
            checkpoint, data, tmp_path / name, protocol="nano", lora_rank=0, lr=2e-3,
            max_steps=steps, batch=4, save_steps=4, log_steps=1, epochs=1.0,
        )  # fmt: skip

    run_sft(config("whole", 8))
    losses = [line["loss"] for line in MetricsLog(tmp_path / "whole").read()]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert (tmp_path / "whole" / "curve.png").stat().st_size > 1000

    # The same run, killed after its first checkpoint.
    (tmp_path / "half").mkdir()
    (tmp_path / "whole" / "checkpoint-4").rename(tmp_path / "half" / "checkpoint-4")
    assert latest_checkpoint(tmp_path / "half") == tmp_path / "half" / "checkpoint-4"
    run_sft(config("half", 8))
    read = [(tmp_path / n / "final" / "model.safetensors").read_bytes() for n in ("whole", "half")]
    assert read[0] == read[1]


def test_lora_trains_an_adapter_alone(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    config = SftConfig(
        checkpoint, data, tmp_path, protocol="nano", lora_rank=4, max_steps=2, batch=2, log_steps=1
    )
    final = run_sft(config)
    assert (final / "adapter_config.json").is_file()
    assert not (final / "model.safetensors").exists()


def test_bad_data_is_told(checkpoint: Path, tmp_path: Path, rows: list[Trajectory]) -> None:
    path = tmp_path / "bad.jsonl"
    gone = json.loads(rows[0].to_json())
    gone["image"] = "gone.png"
    path.write_text(json.dumps(gone) + "\n{\n")
    told: list[str] = []
    with pytest.raises(TrainingError, match="no usable trajectory"):
        run_sft(SftConfig(checkpoint, path, tmp_path / "o", protocol="nano"), told.append)
    assert len(told) == 2
    with pytest.raises(CheckpointError):
        load_for_training(tmp_path, "nano")


def test_reward_is_asymmetric() -> None:
    assert area_share("0") == area_share("4") == 0.25
    assert area_share("5") == 0.5
    assert area_share("all") == 1.0
    cost = ToolCost()
    assert cost.cost(True, (), False) == 2.0
    assert cost.cost(False, ("0",), True) == pytest.approx(0.5)
    assert cost.cost(True, ("0",), True) == pytest.approx(0.25)
    assert cost.cost(False, (), False) == 0.0
    right = reward(
        ExactJudge(), cost, question="q", reference="a", answer="A", needed=False, crops=(),
        called=False,
    )  # fmt: skip
    assert right == 10.0


def test_advantages_and_clipping_by_hand() -> None:
    assert torch.allclose(
        advantages(torch.tensor([[1.0, 3.0]])), torch.tensor([[-1.0, 1.0]]), atol=1e-3
    )
    assert torch.equal(advantages(torch.ones(2, 4)), torch.zeros(2, 4))
    zero, mask = torch.zeros(1, 2), torch.ones(1, 2)
    gain = torch.tensor([1.0])
    up = torch.full((1, 2), 1.0, requires_grad=True)
    loss, kl = grpo_loss(up, zero, up.detach(), gain, mask, clip=0.2, beta=0.0)
    assert float(loss.detach()) == pytest.approx(-1.2)
    loss.backward()
    assert torch.equal(up.grad, torch.zeros(1, 2))  # clipped: no gradient
    assert float(kl) == 0.0
    _, kl = grpo_loss(zero, zero, zero - 1.0, gain, mask, clip=0.2, beta=0.05)
    assert float(kl) > 0


def test_rollouts_hold_sampled_tokens_and_nothing_else(
    checkpoint: Path, rows: list[Trajectory]
) -> None:
    loaded = load_for_training(checkpoint, "nano")
    torch.manual_seed(0)
    image = open_image(rows[0].image, Path())
    (group,) = roll_out(loaded, [(image, rows[0].question)], 3, Sampling(max_new_tokens=5))
    assert len(group) == 3
    start = loaded.encoder.first_turn(image, rows[0].question).ids
    for rollout in group:
        ids, labels = rollout.conversation.ids, rollout.conversation.labels
        assert ids[: len(start)] == start
        assert all(a == b for a, b in zip(ids, labels, strict=True) if b != IGNORE)
        assert sum(b != IGNORE for b in labels) <= 5
    assert any(a.conversation.ids != group[0].conversation.ids for a in group[1:])


@pytest.mark.slow
def test_grpo_unlearns_needless_calls_and_resumes(
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
    start = run_sft(sft)

    def config(name: str) -> GrpoConfig:
        return GrpoConfig(
            start, path, tmp_path / name, protocol="nano", lora_rank=0, lr=1e-4, steps=12,
            prompts=3, group=8, cost=ToolCost(use=8.0), save_steps=6,
            sampling=Sampling(max_new_tokens=10),
        )  # fmt: skip

    # Nothing needs a closer look, and looking is dear: the policy should stop calling.
    whole = GrpoRun(config("whole"))
    whole.train(asked, Path())
    lines = MetricsLog(tmp_path / "whole").read()
    first, last = lines[:4], lines[-4:]
    assert sum(x["reward"] for x in last) > sum(x["reward"] for x in first)
    assert sum(x["called"] for x in last) < sum(x["called"] for x in first)

    half = GrpoRun(config("half"))
    for _ in range(6):
        half.train_step(asked, Path())
    half.save()
    rest = GrpoRun(config("half"))
    assert rest.step == 6
    rest.train(asked, Path())
    for a, b in zip(whole.trainable, rest.trainable, strict=True):
        assert torch.equal(a, b)
