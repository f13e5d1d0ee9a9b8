"""A random nano checkpoint and a few trajectories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from awares_edge.synth import generate, smallest_crops
from awares_edge.training.trajectories import Trajectory, open_image


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from recipes.nano.config import build_model
    from recipes.nano.save import save_checkpoint

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("nano") / "checkpoint"
    save_checkpoint(build_model(0), folder, {})
    return folder


@pytest.fixture(scope="session")
def rows() -> list[Trajectory]:
    """Four that need a quadrant or a half, four that need none."""
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


@pytest.fixture
def pictures(rows: list[Trajectory], tmp_path: Path) -> Path:
    """Trajectories over picture files of their own, ``0.png`` on; the last one is damaged."""
    named = []
    for n, row in enumerate(rows):
        name = f"{n}.png"
        open_image(row.image, tmp_path).save(tmp_path / name)
        named.append(replace(row, id=f"row {n}", image=name))
    damage(tmp_path / name)
    path = tmp_path / "pictures.jsonl"
    path.write_text("".join(r.to_json() + "\n" for r in named))
    return path


def damage(picture: Path) -> None:
    """Cut a picture off in the middle."""
    data = picture.read_bytes()
    picture.write_bytes(data[: len(data) // 2])


@pytest.fixture(scope="session")
def data(rows: list[Trajectory], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "t.jsonl"
    path.write_text("".join(r.to_json() + "\n" for r in rows))
    return path
