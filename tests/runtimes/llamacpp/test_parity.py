"""llama.cpp against transformers in float32, on random checkpoints of several shapes.

Differences are relative: the norm of the difference over the norm of the reference.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from awares_edge.bundle import Bundle
from awares_edge.export.gguf import limits
from awares_edge.protocol.tokenizer import TextTokenizer
from awares_edge.runtimes.base import EncodedImage, ImageSegment, TextSegment
from awares_edge.runtimes.llamacpp import LlamaRuntime
from awares_edge.runtimes.llamacpp.vision import to_pixels
from awares_edge.runtimes.torch_reference import TorchRuntime
from awares_edge.vision import Preprocessing, extract_patches
from tests.support.checkpoints import make_checkpoint, write_json
from tests.support.gguf import GGUF_SHAPES, NANO, export_gguf

SIZES = ((224, 168), (140, 252), (336, 84))


def relative(ours, reference):
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


def patches(width, height, preprocessing=None):
    rng = np.random.default_rng(width)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    rules = preprocessing or Preprocessing()
    return extract_patches(image, rules, min_pixels=3136, max_pixels=10**6)


@pytest.fixture(scope="module", params=[*GGUF_SHAPES, "nano"])
def pair(request, tmp_path_factory):
    """(ours, reference) of one shape in f32."""
    root = tmp_path_factory.mktemp(request.param)
    shape = NANO if request.param == "nano" else GGUF_SHAPES[request.param]
    checkpoint = make_checkpoint(root / "checkpoint", shape, seed=3)
    export_gguf(checkpoint, root / "f32")
    with LlamaRuntime.load(Bundle.open(root / "f32"), threads=1, context=1024) as ours:
        yield ours, TorchRuntime.load(checkpoint)


def ids(runtime, count, seed):
    rng = np.random.default_rng(seed)
    return TextSegment(tuple(int(i) for i in rng.integers(0, runtime.vocabulary, count)))


def turns(runtime, images):
    """Logits of the last tokens of two turns with three pictures of ragged shapes."""
    one, two, three = (ImageSegment(image) for image in images)
    with runtime.open_session() as session:
        first = session.prefill([ids(runtime, 30, 1), one, ids(runtime, 20, 2)], keep_logits=20)
        decoded = session.decode(7)
        middle = [ids(runtime, 9, 3), two, ids(runtime, 2, 4), three, ids(runtime, 8, 5)]
        second = session.prefill(middle, keep_logits=8)
        last = session.decode(5)
    return first, decoded, second, last


def test_text(pair):
    segment = ids(pair[0], 120, 0)
    results = []
    for runtime in pair:
        with runtime.open_session() as session:
            results.append(session.prefill([segment], keep_logits=120))
    assert relative(*results) <= 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_vision(pair, size):
    ours, reference = pair
    picture = patches(*size)
    features = reference.encode_image(picture).features.numpy()
    assert relative(ours.encode_image(picture).features, features) <= 1e-3


def epsilon_distance(root, epsilon):
    """How far llama.cpp is from transformers on a checkpoint with this `rms_norm_eps`."""
    checkpoint = make_checkpoint(root / "c", NANO, seed=3)
    config = json.loads((checkpoint / "config.json").read_text())
    config["text_config"]["rms_norm_eps"] = epsilon
    write_json(checkpoint / "config.json", config)
    export_gguf(checkpoint, root / "f32")
    results = []
    with LlamaRuntime.load(Bundle.open(root / "f32"), threads=1, context=256) as ours:
        segment = ids(ours, 120, 0)
        for runtime in (ours, TorchRuntime.load(checkpoint)):
            with runtime.open_session() as session:
                results.append(session.prefill([segment], keep_logits=120))
    return relative(*results)


def test_llama_cpp_computes_norms_with_an_epsilon_of_0(tmp_path, monkeypatch):
    """Whatever the file says; the export therefore refuses more than 1e-6.

    Where the second distance becomes small, llama.cpp reads the key: drop the refusal then.
    """
    assert epsilon_distance(tmp_path / "small", 1e-12) <= 1e-6
    monkeypatch.setattr(limits, "_MAX_EPSILON", 1.0)
    assert epsilon_distance(tmp_path / "large", 1e-3) >= 1e-3


@pytest.mark.parametrize("size", [28, 56])
def test_patches_of_another_size(tmp_path, size):
    checkpoint = make_checkpoint(tmp_path / "c", "untied", seed=3)
    for name, keys in (("config.json", ["vision_config"]), ("preprocessor_config.json", [])):
        config = json.loads((checkpoint / name).read_text())
        place = config[keys[0]] if keys else config
        place["patch_size"] = size
        write_json(checkpoint / name, config)
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("patch_embed.proj.weight"))
    shape = (*tensors[name].shape[:3], size, size)
    tensors[name] = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.02
    save_file(tensors, path, {"format": "pt"})
    bundle = Bundle.open(export_gguf(checkpoint, tmp_path / "f32"))
    picture = patches(size * 8, size * 6, bundle.manifest.preprocessing)
    reference = TorchRuntime.load(checkpoint).encode_image(picture).features.numpy()
    with LlamaRuntime.load(bundle, threads=1, context=256) as ours:
        assert relative(ours.encode_image(picture).features, reference) <= 1e-3


def test_two_turns_on_our_own_features(pair):
    pictures = [patches(*size) for size in SIZES]
    results = [turns(runtime, map(runtime.encode_image, pictures)) for runtime in pair]
    for mine, theirs in zip(*results, strict=True):
        assert relative(mine, theirs) <= 1e-3


def test_two_turns_on_injected_features(pair):
    ours, reference = pair
    images = [reference.encode_image(patches(*size)) for size in SIZES]
    injected = [EncodedImage(image.features.numpy(), image.grid) for image in images]
    for mine, theirs in zip(turns(ours, injected), turns(reference, images), strict=True):
        assert relative(mine, theirs) <= 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_the_vision_tower_gets_exactly_the_pixels_that_were_cut(size):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    cut = extract_patches(
        Image.fromarray(pixels), Preprocessing(), min_pixels=3136, max_pixels=10**6
    )
    assert np.array_equal(to_pixels(cut, Preprocessing()), pixels)


def test_another_runtimes_vision_can_be_used(tmp_path):
    """Features of the ONNX graph in place of mtmd's."""
    pytest.importorskip("onnx")
    import awares_edge
    from awares_edge.export import export_checkpoint
    from awares_edge.protocol import PROFILES

    checkpoint = make_checkpoint(tmp_path / "c", GGUF_SHAPES["tied"], seed=3)
    export_gguf(checkpoint, tmp_path / "gguf")
    export_checkpoint(checkpoint, tmp_path / "onnx", precision="fp32", profile=PROFILES["paper"])
    picture = patches(224, 168)
    reference = TorchRuntime.load(checkpoint).encode_image(picture).features.numpy()
    with awares_edge.load(tmp_path / "onnx", threads=1) as other:
        bundle = Bundle.open(tmp_path / "gguf")
        runtime = LlamaRuntime.load(bundle, threads=1, vision=other.runtime)
        features = runtime.encode_image(picture).features
        assert relative(features, reference) <= 1e-5
        tokenizer = TextTokenizer.from_file(bundle.path("tokenizer.json"))
        m = bundle.manifest
        model = awares_edge.Model(runtime, tokenizer, m.tokens, m.protocol, m.preprocessing)
        options = awares_edge.AskOptions(crops=("3",), max_new_tokens=5)
        image = np.random.default_rng(0).integers(0, 256, (240, 240, 3), dtype=np.uint8)
        assert model.ask(image, "What?", options).text == other.ask(image, "What?", options).text
        model.close()
