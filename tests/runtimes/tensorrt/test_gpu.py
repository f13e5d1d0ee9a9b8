"""On a GPU: export, build, load, and compare with transformers. Not executed where there is none.

pytest -m gpu tests/runtimes/tensorrt
"""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from awares_edge.errors import RuntimeUnavailable
from awares_edge.export.tensorrt.targets import TARGETS
from awares_edge.runtimes.base import ImageSegment, TextSegment
from awares_edge.runtimes.tensorrt import build_engines, load_runtime
from awares_edge.runtimes.tensorrt.device import Cuda
from awares_edge.vision import Preprocessing, extract_patches
from tests.support.tensorrt_cpu import cpu_runtime, write_bundle

# Strongly typed fp32 products may still run in TF32; fp16 and bf16 by their number of bits.
TOLERANCE = {"fp32": 5e-3, "fp16": 1e-2, "bf16": 8e-2}
pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu():
    try:
        return Cuda().gpu()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt_rtx"])
def product(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


def picture(width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return extract_patches(
        Image.fromarray(pixels), Preprocessing(), min_pixels=3136, max_pixels=200_000
    )


def conversation(runtime):
    """Logits of prefill, decoding, an append of two pictures, and a rewind."""
    encode = lambda *size: ImageSegment(runtime.encode_image(picture(*size)))  # noqa: E731
    rows = []
    with runtime.open_session() as session:
        rows.append(session.prefill([TextSegment((5, 6, 7)), encode(56, 84, 1)], keep_logits=2))
        rows += [session.decode(token)[None] for token in (30, 31, 32, 33)]
        mark = session.mark()
        crops = [TextSegment((9,)), encode(196, 140, 2), TextSegment((8, 7)), encode(84, 56, 3)]
        rows.append(session.prefill(crops, keep_logits=3))
        rows.append(session.decode(40)[None])
        session.rewind(mark)
        rows += [session.decode(token)[None] for token in (41, 42)]
        with session.fork() as fork:
            rows.append(fork.decode(43)[None])
    return rows


@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_conversation_is_the_one_that_a_cpu_has(gpu, product, source, tmp_path, precision):
    rtx = product == "tensorrt_rtx"
    span = ("1.7", "1.99") if rtx else ("10.3", "11.99")
    changes = {"tensorrt": span, "rtx": rtx, "capabilities": (gpu.capability,)}
    bundle = write_bundle(tmp_path / "bundle", source, precision, **changes)
    try:
        build_engines(bundle, engines=tmp_path / "engines")
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    reference = write_bundle(tmp_path / "reference", source, "fp32")
    with cpu_runtime(reference) as runtime:
        expected = conversation(runtime)
    with load_runtime(bundle, engines=tmp_path / "engines") as runtime:
        found = conversation(runtime)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).max() <= TOLERANCE[precision] * theirs.std()


def test_the_targets_capabilities_include_this_gpu(gpu):
    known = {sm for target in TARGETS.values() for sm in target.capabilities}
    assert gpu.capability in known, f"no --target for {gpu.name}: please report it"
