"""What three projects read, as their own code and documentation describe it.

ms-swift: `messages` and `images`, <image> where a picture goes (docs/source_en/Customization/
Custom-dataset.md). An assistant message may carry `loss_scale`, which is kept only with
`--is_binary_loss_scale false` (swift/loss_scale/base.py and swift/template/base.py of 4.6.0).

LLaMA-Factory: `conversations` of `from` and `value`, `system`, `images`, <image> where a picture
goes, and an entry in dataset_info.json (data/README.md, "Sharegpt Format"; src/llamafactory/data/
converter.py of 0.9.5). A message has no weight there.

TRL: `messages` whose content is a list of {"type": "image"} and {"type": "text"}, and `images`
(docs/source/dataset_formats.md; `prepare_multimodal_messages` in trl/data_utils.py of 1.16.0). The
folder is one of Hugging Face datasets' "imagefolder" kind, whose metadata.jsonl names the files of
`images` in `images_file_names`. A message has no weight there.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from awares_edge.training.errors import TrainingError
from awares_edge.training.formats.messages import Message

FormatName = Literal["swift", "sharegpt", "trl"]


class Format(ABC):
    """One format.

    Attributes:
        name: as `--format` takes it.
        rows_file: the file of rows, one JSON object a line, in the folder that is written.
        reserved: texts that the project reads as places of media.
        weighs: whether the weight of a message is written.
        next_step: how to train on the folder, with {folder}.
    """

    name: ClassVar[FormatName]
    rows_file: ClassVar[str] = "train.jsonl"
    reserved: ClassVar[tuple[str, ...]] = ()
    weighs: ClassVar[bool] = False
    next_step: ClassVar[str]

    @abstractmethod
    def row(self, name: str, messages: Sequence[Message], images: Sequence[str]) -> dict[str, Any]:
        """One row.

        Args:
            name: id of the trajectory.
            images: paths of the messages' pictures in their order, relative to the folder.
        """

    def extra_files(self) -> dict[str, str]:
        """Other files of the folder: name and text."""
        return {}

    def check(self, messages: Sequence[Message]) -> None:
        """Refuse texts that the project would read as places of media.

        Raises:
            TrainingError: there is one.
        """
        for part in (part for message in messages for part in message.parts):
            for word in self.reserved:
                if isinstance(part, str) and word in part:
                    raise TrainingError(f"the text holds {word}, which {self.name} reads as media")


class Swift(Format):
    """ms-swift's messages."""

    name = "swift"
    reserved = ("<image>", "<video>", "<audio>", "<bbox>", "<ref-object>", "<cot-process>")
    weighs = True
    next_step = (
        "ROOT_IMAGE_DIR={folder} swift sft --dataset {folder}/train.jsonl "
        "--is_binary_loss_scale false ..."
    )

    def row(self, name: str, messages: Sequence[Message], images: Sequence[str]) -> dict[str, Any]:
        return {
            "id": name,
            "messages": [self._message(message) for message in messages],
            "images": list(images),
        }

    def _message(self, message: Message) -> dict[str, Any]:
        value: dict[str, Any] = {"role": message.role, "content": _tagged(message)}
        if message.role == "assistant":
            value["loss_scale"] = message.weight
        return value


class ShareGpt(Format):
    """LLaMA-Factory's conversations."""

    name = "sharegpt"
    reserved = ("<image>", "<video>", "<audio>")
    next_step = (
        "llamafactory-cli train, with dataset: awares, dataset_dir: {folder}, "
        "media_dir: {folder}, image_max_pixels: 12845056"
    )
    _ROLES: ClassVar[dict[str, str]] = {"user": "human", "assistant": "gpt"}

    def row(self, name: str, messages: Sequence[Message], images: Sequence[str]) -> dict[str, Any]:
        system, *others = messages
        return {
            "id": name,
            "system": _tagged(system),
            "conversations": [
                {"from": self._ROLES[message.role], "value": _tagged(message)} for message in others
            ],
            "images": list(images),
        }

    def extra_files(self) -> dict[str, str]:
        columns = {"messages": "conversations", "system": "system", "images": "images"}
        entry = {"file_name": self.rows_file, "formatting": "sharegpt", "columns": columns}
        return {"dataset_info.json": json.dumps({"awares": entry}, indent=2) + "\n"}


class Trl(Format):
    """TRL's conversational format for vision-language models, as an image folder."""

    name = "trl"
    rows_file = "metadata.jsonl"
    next_step = (
        "datasets.load_dataset('imagefolder', data_dir='{folder}'), then SFTTrainer with "
        "assistant_only_loss=True"
    )

    def row(self, name: str, messages: Sequence[Message], images: Sequence[str]) -> dict[str, Any]:
        return {
            "id": name,
            "messages": [
                {"role": message.role, "content": [self._part(part) for part in message.parts]}
                for message in messages
            ],
            "images_file_names": list(images),
        }

    @staticmethod
    def _part(part: object) -> dict[str, str]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        return {"type": "image"}


def _tagged(message: Message) -> str:
    """The message's text with <image> where its pictures go."""
    return "".join(part if isinstance(part, str) else "<image>" for part in message.parts)


FORMATS: dict[FormatName, Format] = {f.name: f for f in (Swift(), ShareGpt(), Trl())}


def get_format(name: FormatName) -> Format:
    """The format of this name."""
    return FORMATS[name]
