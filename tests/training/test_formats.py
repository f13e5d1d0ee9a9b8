"""Trajectories for ms-swift, LLaMA-Factory and TRL: the conversation that `train sft` trains on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from awares_edge.errors import InputError
from awares_edge.protocol import TextTokenizer, get_profile
from awares_edge.training.errors import TrainingError
from awares_edge.training.formats import FORMATS, ConversionReport, convert, get_format
from awares_edge.training.trajectories import Trajectory, open_image

NANO = Path(__file__).resolve().parents[2] / "checkpoints" / "nano"
PROFILE = get_profile("nano")
SAYS_CROPS = "Answer from the low-resolution view, or respond with GET_CROPS: and crop numbers."


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def two(rows: list[Trajectory]) -> list[Trajectory]:
    """One that needs crops, one that needs none."""
    high = replace(rows[0], question="What is the label?", answer="K47", crops=("0", "3"))
    return [high, replace(rows[-1], question="What color?", answer="red")]


def written(rows, name, tmp_path, **options) -> Path:
    out = tmp_path / name
    convert(rows, tmp_path, out, get_format(name), PROFILE, **options)
    return out


def test_swift_weighs_the_call(two: list[Trajectory], tmp_path: Path) -> None:
    high, low = read(written(two, "swift", tmp_path) / "train.jsonl")
    assert high["messages"] == [
        {"role": "system", "content": SAYS_CROPS},
        {"role": "user", "content": "<image>What is the label?"},
        {"role": "assistant", "content": "GET_CROPS: ['0', '3']", "loss_scale": 5.0},
        {"role": "user", "content": "<image><image>"},
        {"role": "assistant", "content": "K47", "loss_scale": 1.0},
    ]
    assert len(high["images"]) == 3
    assert [m["role"] for m in low["messages"]] == ["system", "user", "assistant"]
    assert len(low["images"]) == 1
    assert not {"label", "objects", "rejected_response"} & set(high)  # mean other tasks there


def test_sharegpt_alternates_and_has_an_entry(two: list[Trajectory], tmp_path: Path) -> None:
    out = written(two, "sharegpt", tmp_path)
    high, _ = read(out / "train.jsonl")
    assert high["system"] == SAYS_CROPS
    assert [m["from"] for m in high["conversations"]] == ["human", "gpt", "human", "gpt"]
    assert high["conversations"][2]["value"] == "<image><image>"
    text = "".join(m["value"] for m in high["conversations"])
    assert text.count("<image>") == len(high["images"]) == 3
    [entry] = json.loads((out / "dataset_info.json").read_text()).values()
    assert entry["formatting"] == "sharegpt"
    assert (out / entry["file_name"]).is_file()
    assert set(entry["columns"].values()) <= set(high)


@pytest.mark.parametrize("name", FORMATS)
def test_pictures_have_the_size_that_the_device_shows(name, two, tmp_path: Path) -> None:
    out = written(two, name, tmp_path)
    row = read(out / get_format(name).rows_file)[0]
    sizes = []
    for path in row.get("images") or row["images_file_names"]:
        assert re.fullmatch(r"images/[0-9a-f]{24}\.png", path)
        with Image.open(out / path) as image:
            sizes.append(image.size)
    assert sizes == [(112, 112)] * 3


def test_a_large_picture_is_sized_by_the_profile(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000), "red").save(tmp_path / "big.png")
    row = Trajectory("a", "big.png", "What color?", "red", "HR", ("1",))
    out = tmp_path / "out"
    profile = replace(get_profile("paper"), max_pixels=500_000)
    convert([row], tmp_path, out, get_format("swift"), profile)
    first, crop = read(out / "train.jsonl")[0]["images"]
    for path in (first, crop):
        with Image.open(out / path) as image:
            assert image.width % 28 == image.height % 28 == 0
            assert image.width * image.height <= 500_000


def test_each_picture_is_written_once(two: list[Trajectory], tmp_path: Path) -> None:
    rows = [replace(two[0], id=str(n), question=f"What is label {n}?") for n in range(3)]
    out = tmp_path / "out"
    report = convert(rows, tmp_path, out, get_format("trl"), PROFILE)
    assert (report.written, report.calls, report.pictures) == (3, 3, 3)
    assert len(list((out / "images").iterdir())) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": "gone.png"}, "gone.png"),
        ({"question": "What is <image>?"}, "holds <image>"),
        ({"answer": "a<|im_end|>b"}, "special token <|im_end|>"),
        ({"question": " "}, "question is empty"),
    ],
)
def test_a_row_that_cannot_be_written_is_left_out_and_named(change, reason, two, tmp_path) -> None:
    told: list[str] = []
    rows = [replace(two[0], **change), two[1]]
    out = tmp_path / "out"
    report = convert(
        rows, tmp_path, out, get_format("swift"), PROFILE, report=ConversionReport(told.append)
    )
    assert (report.written, len(told)) == (1, 1)
    assert reason in told[0]
    assert json.loads((out / "skipped.json").read_text()) == {"skipped": 1, "rows": told}


def test_nothing_is_written_where_no_row_can_be(two: list[Trajectory], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no trajectory can be written as swift"):
        written([replace(two[0], image="gone.png")], "swift", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["deepeyes", "mini-o3", "visionthink"])
def test_profiles_without_the_crop_set_are_refused(name, two, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no fixed crop set"):
        convert(two, tmp_path, tmp_path / "out", get_format("trl"), get_profile(name))


@pytest.fixture
def examples(two: list[Trajectory], tmp_path: Path) -> list[dict]:
    """The rows as Hugging Face datasets loads the folder."""
    datasets = pytest.importorskip("datasets")
    out = written(two, "trl", tmp_path)
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache")
    )
    return list(loaded)


def test_trl_makes_the_tokens_labels_and_pixels_of_train_sft(examples, two, tmp_path) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("torch")
    import torch
    from transformers import Qwen2_5_VLProcessor, Qwen2TokenizerFast
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )
    from trl.chat_template_utils import qwen2_5_vl_training_chat_template
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    from awares_edge.training.encoding import Encoder, collate

    class PictureProcessor(Qwen2_5_VLProcessor):
        """Without its video processor, which needs torchvision."""

        def check_argument_for_proper_class(self, name, argument):
            return type(argument)

    processor = PictureProcessor(
        Qwen2VLImageProcessorPil(), Qwen2TokenizerFast.from_pretrained(NANO)
    )
    collator = DataCollatorForVisionLanguageModeling(
        processor, assistant_only_loss=True, chat_template=qwen2_5_vl_training_chat_template
    )
    tokenizer = TextTokenizer.from_file(NANO / "tokenizer.json")
    encoder = Encoder(tokenizer, tokenizer.special_tokens(), PROFILE)
    for example, row in zip(examples, two, strict=True):
        theirs = collator([example])
        ours = collate(
            [
                encoder.trajectory(
                    open_image(row.image, tmp_path), row.question, row.answer, row.crops
                )
            ],
            encoder.special.image_pad,
            0,
        )
        length = ours["input_ids"].shape[1]
        ids, labels = (theirs[key][0, :length] for key in ("input_ids", "labels"))
        assert torch.equal(ids, ours["input_ids"][0])
        only_theirs = (labels != -100) & (ours["labels"][0] == -100)
        assert torch.equal(labels[~only_theirs], ours["labels"][0][~only_theirs])
        # TRL's template also trains the line break after <|im_end|>, which a device never decodes.
        assert set(ids[only_theirs].tolist()) <= set(tokenizer.encode("\n"))
        assert torch.equal(theirs["image_grid_thw"], ours["image_grid_thw"])
        assert torch.equal(theirs["pixel_values"], ours["pixel_values"])
