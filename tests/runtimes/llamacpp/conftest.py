"""One tiny bundle for all tests of this runtime."""

import pytest

pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (extra gguf)")
pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
pytest.importorskip("torch", reason="torch makes the tiny checkpoints (extra torch)")

from awares_edge.bundle import Bundle
from awares_edge.runtimes.llamacpp import LlamaRuntime
from tests.support.gguf import make_bundle


@pytest.fixture(scope="session")
def bundle_root(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("llamacpp"))


@pytest.fixture
def runtime(bundle_root):
    with LlamaRuntime.load(Bundle.open(bundle_root), threads=1, context=256) as runtime:
        yield runtime
