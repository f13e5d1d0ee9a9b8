"""Tiny checkpoints; those that a test damages are copies."""

import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.support.checkpoints import make_checkpoint


@pytest.fixture(scope="session")
def untied(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("untied") / "checkpoint", "untied")


@pytest.fixture(scope="session")
def tied(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("tied") / "checkpoint", "tied")


@pytest.fixture
def folder(untied, tmp_path):
    """A copy of the untied checkpoint, to damage."""
    return shutil.copytree(untied, tmp_path / "checkpoint")


@pytest.fixture
def tied_folder(tied, tmp_path):
    return shutil.copytree(tied, tmp_path / "checkpoint")
