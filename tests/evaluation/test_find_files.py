"""Where the published files are: in a folder, or on the hub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import awares_edge
from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks import BENCHMARKS, get_benchmark
from awares_edge.evaluation.suites import PublishedSuite
from awares_edge.evaluation.suites.published import find_files
from tests.support import published
from tests.support.hub import running_hub


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("place", ["", "{name}", "{repository}"])
def test_a_folder_may_be_the_repository_or_hold_it(name, place, tmp_path):
    benchmark = get_benchmark(name)
    repository = benchmark.repository.split("/")[1]
    written = published.write(
        tmp_path / place.format(name=name, repository=repository), name, published.rows(name, 6)
    )
    assert find_files(benchmark, str(tmp_path)) == sorted(written)
    if place:
        assert find_files(benchmark, str(tmp_path), several=True) == sorted(written)
    elif name != "docvqa":  # whose own folder DocVQA is one with that name
        with pytest.raises(InputError, match=f"in {tmp_path / name}: download"):
            find_files(benchmark, str(tmp_path), several=True)


def test_other_splits_are_left_alone(tmp_path):
    written = published.write(tmp_path, "docvqa", published.rows("docvqa", 2))
    (tmp_path / "DocVQA" / "test-00000-of-00001.parquet").touch()
    (tmp_path / "DocVQA" / "train-00000-of-00001.parquet").touch()
    assert find_files(get_benchmark("docvqa"), str(tmp_path)) == written


def test_a_folder_without_the_files_says_which_they_are(tmp_path):
    with pytest.raises(InputError, match="download lmms-lab/DocVQA there"):
        find_files(get_benchmark("docvqa"), str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        find_files(get_benchmark("docvqa"), str(tmp_path / "missing"))


FIND = """
import sys
from awares_edge.errors import AwaresError
from awares_edge.evaluation.benchmarks import get_benchmark
from awares_edge.evaluation.suites.published import find_files
try:
    for path in find_files(get_benchmark(sys.argv[1]), *(sys.argv[2:] or [None])):
        print(path)
except AwaresError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def hub():
    pytest.importorskip("huggingface_hub")
    with running_hub() as hub:
        yield hub


@pytest.fixture
def find(hub, tmp_path):
    """Find files in a process of its own: the hub's client reads its settings once."""

    def find(*arguments):
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": str(Path(awares_edge.__file__).parents[1]),
        }
        done = subprocess.run(
            [sys.executable, "-c", FIND, *arguments],
            env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode:
            return done.stderr.strip()
        return [Path(line) for line in done.stdout.splitlines()]

    return find


@pytest.mark.parametrize("data", [(), ("someone/copy",)])
def test_published_files_are_downloaded_once_and_nothing_else_is(data, hub, find, tmp_path):
    benchmark = get_benchmark("docvqa")
    paths = published.write(tmp_path / "x", "docvqa", published.rows("docvqa", 4))
    files = {str(path.relative_to(tmp_path / "x")): path.read_bytes() for path in paths}
    repository = (*data, benchmark.repository)[0]
    hub.repositories[repository] = {**files, "README.md": b"x", "DocVQA/test-0.parquet": b"x"}
    hub.datasets.add(repository)
    found = find("docvqa", *data)
    assert [path.read_bytes() for path in found] == list(files.values())
    assert sorted(hub.gets) == sorted(files)
    assert find("docvqa", *data) == found
    assert sorted(hub.gets) == sorted(files)
    assert PublishedSuite(benchmark, found).count == 4


def test_a_repository_without_the_files_is_refused(hub, find):
    hub.repositories["someone/copy"] = {"README.md": b"x"}
    hub.datasets.add("someone/copy")
    assert "it is not ChartQA" in find("chartqa", "someone/copy")
    assert "nor a public repository" in find("chartqa", "someone/other")
