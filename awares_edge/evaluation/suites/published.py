"""The six published benchmarks: where their files are, and their questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from awares_edge.checkpoint.hub import download, is_hub_id
from awares_edge.errors import CheckpointError, InputError
from awares_edge.evaluation.benchmarks.base import Benchmark
from awares_edge.evaluation.question import BadQuestion, Question
from awares_edge.evaluation.suites.base import Selection, Suite
from awares_edge.evaluation.suites.parquet import Damaged, ParquetRows
from awares_edge.vision.load import load_image


class PublishedSuite(Suite):
    """A benchmark's published parquet files."""

    def __init__(self, benchmark: Benchmark, files: Sequence[Path]) -> None:
        """Check the files; nothing but their footers is read.

        Raises:
            RuntimeUnavailable: pyarrow is not installed.
            InputError: a file cannot be used.
        """
        self.rules = self.benchmark = benchmark
        self._rows = ParquetRows(files, benchmark.columns, benchmark.optional)
        self.count = self._rows.count

    def read(self, selection: Selection) -> Iterator[tuple[int, Question | BadQuestion]]:
        for index, row in self._rows.read(selection):
            if isinstance(row, Damaged):
                yield index, BadQuestion(row.reason)
                continue
            try:
                yield index, self.benchmark.question(row, index)
            except InputError as error:
                yield index, BadQuestion(str(error))

    def pins(self) -> dict[str, Any]:
        return {"files": self._rows.pins()}

    def decode(self, question: Question) -> Image.Image:
        """As lmms-eval decodes it: `convert("RGB")` shows the colour under transparent pixels."""
        picture = load_image(question.image)  # every check on untrusted pictures is made here
        if not isinstance(question.image, bytes):
            return picture
        with Image.open(BytesIO(question.image)) as image:
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                return load_image(image.convert("RGB"))
        return picture


def find_files(benchmark: Benchmark, data: str | None, *, several: bool = False) -> list[Path]:
    """The published files of a benchmark.

    Args:
        data: a folder: the downloaded repository itself, or one that holds it under the
            benchmark's or the repository's name; or a repository on the hub. None for the
            published repository, which the hub's client downloads or finds in its cache.
        several: `data` is for several benchmarks, so it is not a repository itself.

    Raises:
        RuntimeUnavailable: huggingface_hub is needed and not installed.
        InputError: there are no such files.
    """
    if data is not None and not is_hub_id(data):
        return _in_folder(benchmark, Path(data), several)
    repository = data or benchmark.repository
    try:
        folder = download(repository, files=(benchmark.files,), kind="dataset").path
    except CheckpointError as error:
        raise InputError(str(error)) from error
    if files := sorted(folder.glob(benchmark.files)):
        return files
    raise InputError(f"{repository} has no {benchmark.files}: it is not {benchmark.title}")


def _in_folder(benchmark: Benchmark, folder: Path, several: bool) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    names = [benchmark.name, benchmark.repository.split("/")[1]]
    roots = [folder / name for name in names]
    for root in roots if several else [folder, *roots]:
        # The split's files may also be in the folder itself.
        for pattern in (benchmark.files, Path(benchmark.files).name):
            if files := sorted(root.glob(pattern)):
                return files
    where = f"{folder / names[0]}" if several else f"{folder}"
    raise InputError(f"no {benchmark.files} in {where}: download {benchmark.repository} there")
