"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from awares_edge.errors import InputError
from awares_edge.files import (
    check_output,
    check_output_folder,
    place_folder,
    whole_file,
    whole_folder,
    whole_path,
)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def special(kind: str, folder: Path) -> Path:
    """Something other than a regular file."""
    path = folder / kind
    if kind == "device":
        return Path(os.devnull)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        (folder / "target").write_bytes(b"old")
        path.symlink_to("target" if kind == "link" else "gone")
    return path


SPECIAL = ["device", "fifo", "folder", "socket", "link", "dangling link"]


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

    def fail() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
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

    def fail() -> None:
        with whole_folder(path) as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in path.iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("kind", SPECIAL)
def test_only_regular_files_are_replaced(kind: str, tmp_path: Path) -> None:
    path = special(kind, tmp_path)
    before = path.lstat()
    with pytest.raises(InputError, match=f"cannot write {path}: something other than a regular"):
        check_output(path)

    def write() -> None:
        with whole_file(path) as file:
            file.write(b"new")

    with pytest.raises(OSError, match="something other than a regular file"):
        write()
    assert path.lstat()[:4] == before[:4]
    assert not any("awares-edge" in p.name for p in path.parent.iterdir())


def test_what_appears_during_the_work_is_not_replaced_either(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"

    def write() -> None:
        with whole_file(path) as file:
            file.write(b"new")
            path.symlink_to("elsewhere")

    with pytest.raises(OSError, match="something other than a regular file"):
        write()
    assert path.is_symlink()
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_check_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    check_output(path)
    check_output(tmp_path / "new" / "folder" / "file")
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "new" / "folder")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_a_check_finds_what_would_fail(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot write"):
            check_output(path)
    for path in (tmp_path / "file", tmp_path / "file" / "a", Path(os.devnull)):
        with pytest.raises(InputError, match="cannot write to"):
            check_output_folder(path)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    check_output(path)
    with whole_file(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.usefixtures("umask")
def test_modes_follow_the_umask(tmp_path: Path) -> None:
    with whole_file(tmp_path / "file") as file:
        file.write(b"")
    with whole_folder(tmp_path / "folder"):
        pass
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


@pytest.mark.usefixtures("umask")
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(0o600)
    with whole_path(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_error_names_the_file_and_not_its_temporary_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a"

    def write() -> None:
        with whole_file(path):
            pass

    with pytest.raises(OSError, match=r"Not a directory|File exists") as caught:
        write()
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("kind", ["filled folder", "file", "link"])
def test_a_folder_takes_no_name_that_is_taken(kind: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "new").mkdir(parents=True)
    if kind == "filled folder":
        (target / "theirs").mkdir(parents=True)
    elif kind == "file":
        target.touch()
    else:
        target.symlink_to("source")
    with pytest.raises(FileExistsError):
        place_folder(source, target)
    if kind != "filled folder":
        with pytest.raises(FileExistsError):
            place_folder(source, target, replace=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source", "target"]
    assert (source / "new").exists()


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(
    stop: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    (path / "old").mkdir(parents=True)
    rename = Path.replace

    def fail(source: Path, target: Path) -> Path:
        if source.suffix == ".tmp":
            raise stop
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", fail)

    def write() -> None:
        with whole_folder(path) as folder:
            (folder / "new").mkdir()

    with pytest.raises(type(stop)):
        write()
    assert [p.name for p in path.iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
