"""Metrics of a run: JSONL lines, and a curve plotted from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from awares_edge.files import whole_file
from awares_edge.training.errors import TrainingError


class MetricsLog:
    """Appends one JSON object a line to ``metrics.jsonl`` in a run's folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"

    def write(self, **values: Any) -> None:
        clean = {k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(clean) + "\n")

    def read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                value = json.loads(line)
            except ValueError:  # incomplete after a crash; the resumed run writes it again
                break
            if isinstance(value, dict):
                lines.append(value)
        return lines

    def truncate(self, step: int) -> None:
        """Drop lines after ``step``: a resumed run writes them again."""
        kept = [line for line in self.read() if line.get("step", 0) <= step]
        with whole_file(self.path) as file:
            file.write("".join(json.dumps(line) + "\n" for line in kept).encode())

    def plot(self, *names: str) -> Path:
        """Draw ``names`` over steps to ``curve.png`` beside the log."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        lines = self.read()
        if not names:
            raise TrainingError(f"{self.path} has no scores: remove its folder to begin again")
        figure, axes = plt.subplots(len(names), 1, figsize=(7, 2.2 * len(names)), squeeze=False)
        for axis, name in zip(axes[:, 0], names, strict=True):
            points = [(line["step"], line[name]) for line in lines if name in line]
            axis.plot([p[0] for p in points], [p[1] for p in points], lw=1)
            axis.set_ylabel(name)
            axis.grid(alpha=0.3)
        axes[-1, 0].set_xlabel("step")
        figure.tight_layout()
        out = self.path.with_name("curve.png")
        figure.savefig(out, dpi=110)
        plt.close(figure)
        return out
