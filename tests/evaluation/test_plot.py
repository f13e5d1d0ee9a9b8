"""The picture of accuracy against RTR, and the intervals in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from awares_edge import extras
from awares_edge.errors import InputError, RuntimeUnavailable
from awares_edge.evaluation import plot
from awares_edge.evaluation.intervals import wilson

RESULTS = [
    {"mode": "awares", "accuracy": 0.8, "rtr": 0.4, "questions": 500},
    {"mode": "full", "accuracy": 0.9, "rtr": 1.0, "questions": 500},
]


def test_the_interval_is_wilsons() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)


def test_the_interval_stays_between_0_and_1() -> None:
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / "rtr.png"
    plot.draw(RESULTS, path, "made-up numbers")
    with Image.open(path) as image:
        image.load()
        assert image.width > 1000
    assert [p.name for p in path.parent.iterdir()] == ["rtr.png"]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    path = tmp_path / "rtr.png"
    path.write_bytes(b"old")

    def fail(_figure: object, file: object, **_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure.Figure, "savefig", fail)
    with pytest.raises(InputError, match="No space left"):
        plot.draw(RESULTS, path, "")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_labels_cover_no_point_and_no_other_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.text import Annotation, Text

    figures = []
    monkeypatch.setattr(plot, "_save", lambda figure, _: figures.append(figure))
    crowd = [
        {"mode": f"step {i} $", "accuracy": 0.8 + i / 100, "rtr": 0.37 + i / 200, "questions": 900}
        for i in range(5)
    ]
    plot.draw([*RESULTS, *crowd], tmp_path / "rtr.svg", "made-up numbers")
    axes = figures[0].axes[0]
    labels = [child for child in axes.get_children() if isinstance(child, Annotation)]
    assert sorted(label.get_text() for label in labels) == sorted(
        str(r["mode"]) for r in [*RESULTS, *crowd]
    )
    boxes = [Text.get_window_extent(label) for label in labels]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        assert not any(box.contains(*axes.transData.transform(x.xy)) for x in labels)


def test_a_plot_that_cannot_be_drawn_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'matplotlib>=3\.9'"):
        plot.check(tmp_path / "rtr.png")
    monkeypatch.setattr(extras, "find_spec", lambda _: object())
    for name in ("rtr", "rtr.txt", ""):
        with pytest.raises(InputError, match="end its name with"):
            plot.check(tmp_path / name)
    with pytest.raises(InputError, match="nothing to draw"):
        plot.draw([], tmp_path / "rtr.png", "")
