"""The Ray recipe of docs/evaluation.md, as it stands there, on a local Ray."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import awares_edge
from awares_edge.synth import generate

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_recipe_asks_every_row_and_keeps_the_reasons_of_those_that_fail(tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("PIL").Image.fromarray(generate("test", 0, 0).picture).save(
        tmp_path / "a.png"
    )
    asked = [q for q in generate("test", 0, 0).questions if q.kind == "label"]
    rows = [
        {"image": str(tmp_path / "a.png"), "question": q.text, "references": [q.answer]}
        for q in asked
    ]
    rows.append({**rows[0], "image": str(tmp_path / "gone.png")})
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    page = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(import ray\n.*?)```", page, re.DOTALL)
    code = code.replace("my-bundle", str(awares_edge.embedded_bundle()))
    local = "import ray\nray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)\n"
    done = subprocess.run(
        [sys.executable, "-c", local + code], cwd=tmp_path, capture_output=True, text=True,
        timeout=300, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = [
        json.loads(line)
        for file in sorted((tmp_path / "predictions").glob("*.json"))
        for line in file.read_text().splitlines()
    ]
    by_question = {(row["image"], row["question"]): row for row in found}
    assert len(found) == len(by_question) == len(rows)
    for row in rows[:-1]:
        answered = by_question[row["image"], row["question"]]
        assert [answered["prediction"]] == row["references"]
        assert answered["error"] == ""
    assert "gone.png" in by_question[rows[-1]["image"], rows[-1]["question"]]["error"]
