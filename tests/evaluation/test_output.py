"""What a measurement writes, found out before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from awares_edge.errors import InputError
from awares_edge.evaluation.output import check_writable


def test_a_plain_file_can_be_written_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    check_writable(path)
    check_writable(tmp_path / "folder" / "new")
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["folder", "old"]


def test_a_device_is_no_place_for_results() -> None:
    # Renaming a file onto it, as the superuser may, would replace it for every program.
    with pytest.raises(InputError, match="name a plain file"):
        check_writable(Path(os.devnull))


def test_a_name_that_is_too_long_for_its_temporary_one_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        check_writable(tmp_path / ("x" * 250))
