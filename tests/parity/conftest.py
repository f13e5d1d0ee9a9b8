"""One tiny checkpoint of each shape, with transformers' model and our bundle of it."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.support.checkpoints import SHAPES
from tests.support.pairs import make_pair


@pytest.fixture(scope="session", params=SHAPES)
def pair(request, tmp_path_factory):
    """transformers' model and our runtimes of one checkpoint."""
    return make_pair(tmp_path_factory.mktemp(request.param), request.param)
