"""What a measurement writes, found out before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from awares_edge.errors import InputError
from awares_edge.evaluation.output import check_writable


def test_a_regular_file_is_accepted_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    check_writable(path)
    check_writable(tmp_path / "folder" / "new")
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["folder", "old"]


def test_a_device_is_refused() -> None:
    # Renaming a file onto it, as the superuser may, would replace it for every program.
    with pytest.raises(InputError, match="name a plain file"):
        check_writable(Path(os.devnull))


def test_a_name_too_long_for_its_temporary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        check_writable(tmp_path / ("x" * 250))
