"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from awares_edge.files import whole_file, whole_folder


def test_a_file_appears_when_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with whole_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write_half() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_replaces_the_old_one_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "stale").touch()
    with whole_folder(path) as folder:
        (folder / "fresh").touch()
        assert (path / "stale").exists()
    assert [p.name for p in path.iterdir()] == ["fresh"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "old").touch()

    def write_half() -> None:
        with whole_folder(path) as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [p.name for p in path.iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
