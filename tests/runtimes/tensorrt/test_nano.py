"""The nano model through the TensorRT graphs, in onnxruntime: the answers of the onnx runtime."""

import json
from pathlib import Path

import pytest

import awares_edge
from awares_edge.export import TensorrtFormat, export_checkpoint
from awares_edge.protocol import PROFILES
from tests.support.tensorrt_cpu import as_model, cpu_runtime

ROOT = Path(__file__).parents[3]
CHECKPOINT = ROOT / "checkpoints" / "nano"
SAMPLES = ROOT / "awares_edge" / "assets" / "samples"

pytestmark = pytest.mark.skipif(
    not (CHECKPOINT / "model.safetensors").is_file() or not (SAMPLES / "samples.json").is_file(),
    reason="the nano checkpoint or its sample pictures are not here",
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Text and crops of each packaged sample, from the onnx runtime at fp32."""
    folder = tmp_path_factory.mktemp("nano") / "onnx"
    export_checkpoint(CHECKPOINT, folder, precision="fp32", profile=PROFILES["nano"])
    with awares_edge.load(folder, threads=1) as model:
        return ask_all(model)


def ask_all(model):
    found = []
    for sample in json.loads((SAMPLES / "samples.json").read_text()):
        answer = model.ask(SAMPLES / sample["file"], sample["question"])
        found.append((answer.text, [crop.id for crop in answer.crops]))
    return found


def test_answers_and_crops_are_the_same(answers, tmp_path):
    bundle = export_checkpoint(
        CHECKPOINT,
        tmp_path / "bundle",
        format=TensorrtFormat(target="orin-nano"),
        profile=PROFILES["nano"],
    )
    with as_model(bundle, cpu_runtime(bundle)) as model:
        assert ask_all(model) == answers
