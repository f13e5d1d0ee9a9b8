"""Every field of a manifest has a limit; real models are well within, absurd ones are refused."""

import json
import typing
from dataclasses import asdict, is_dataclass

import pytest

from awares_edge.api import embedded_bundle
from awares_edge.bundle import FileEntry, Manifest
from awares_edge.bundle.limits import LIMITS
from awares_edge.bundle.schema import parse_json
from awares_edge.errors import BundleError
from awares_edge.protocol import PROFILES, SpecialTokens
from awares_edge.protocol.calibration import Calibration
from awares_edge.protocol.sizes import Fit
from awares_edge.spec import MANIFEST_NAME, TOKENIZER_NAME, ModelSpec, VisionSpec
from awares_edge.vision import Preprocessing

NANO = (embedded_bundle() / MANIFEST_NAME).read_text()


def places(cls, path=""):
    """Paths, as `LIMITS` spells them, of all that a manifest may hold a value at."""
    for name, hint in typing.get_type_hints(cls).items():
        yield from places_of(hint, f"{path}{name}")


def places_of(hint, path):
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        yield from places(hint, f"{path}.")
    elif origin is tuple:
        yield from [path] if args[-1] is Ellipsis else []
        yield from places_of(args[0], f"{path}[]")
    elif origin is dict:
        yield from (path, f"{path}.keys")
        yield from places_of(args[1], f"{path}[]")
    elif args and origin is not typing.Literal:  # optional
        yield from places_of(args[0], path)
    elif hint in (int, float, str):
        yield path


def test_every_field_has_a_limit_and_every_limit_a_field():
    assert set(places(Manifest)) == set(LIMITS)


# Released checkpoints: hidden, intermediate, layers, heads, KV heads, vocabulary, vision's inner.
QWEN = {
    "3B": (2048, 11_008, 36, 16, 2, 151_936, 3420),
    "7B": (3584, 18_944, 28, 28, 4, 152_064, 3420),
    "32B": (5120, 27_648, 64, 40, 8, 152_064, 3456),
    "72B": (8192, 29_568, 80, 64, 8, 152_064, 3456),
}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
@pytest.mark.parametrize("size", QWEN)
def test_real_models_are_admitted_under_every_profile(size, profile):
    hidden, inner, layers, heads, kv_heads, vocabulary, vision_inner = QWEN[size]
    vision = VisionSpec(1280, vision_inner, 32, 16, 112, (7, 15, 23, 31), hidden)
    model = ModelSpec(
        f"Qwen2.5-VL-{size}-Instruct",
        "apache-2.0",
        "Qwen/Qwen2.5-VL",
        *(hidden, inner, layers, heads, kv_heads, 128, vocabulary),
        *(1e6, (16, 24, 24), 1e-6, size == "3B", 128_000, vision),
    )
    tokens = SpecialTokens(151_644, 151_645, 151_652, 151_653, 151_655, (151_645, 151_643))
    files = {TOKENIZER_NAME: FileEntry(11_421_896, "0" * 64)}
    manifest = Manifest("onnx", "fp16", model, profile, Preprocessing(), tokens, files)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_the_embedded_bundle_is_written_as_it_was_read():
    assert Manifest.from_json(NANO).to_json() == NANO


@pytest.mark.parametrize("limit", [pytest.param(p, id=p) for p in LIMITS if "[" not in p])
def test_a_value_beyond_its_limit_is_refused_and_named(limit):
    body = json.loads(NANO)
    fit = asdict(Fit("floor", 3136, 50_176))
    for table in ("source", "first_view", "region"):
        body["protocol"][table]["fit"] = dict(fit)
    body["calibration"] = asdict(Calibration("0" * 64, "0" * 64))
    *outer, name = limit.removesuffix(".keys").split(".")
    inner = body
    for key in outer:
        inner = inner[key]
    high = 1 << 62
    if limit.endswith(".keys"):
        inner[name] = {"x" * 5000: "x"}
    else:
        inner[name] = {
            int: high,
            float: 1e300,
            str: "x" * 100_000,
            list: ["0"] * 9999,
            type(None): high,
        }.get(type(inner[name]), {str(i): "x" for i in range(9999)})
    with pytest.raises(BundleError, match=name) as caught:
        Manifest.from_json(json.dumps(body))
    assert len(str(caught.value)) < 250


ENTRY = {"bytes": 0, "sha256": "0" * 64}
HUGE = {
    **{"layers": 1024, "heads": 1024, "kv_heads": 1024, "head_dim": 64, "hidden_size": 65_536},
    "mrope_section": [0, 0, 32],
}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda b: b["model"].update(head_dim=30), "heads times head_dim"),
        (lambda b: b["model"].update(kv_heads=4), "kv_heads must divide heads"),
        (lambda b: b["model"].update(mrope_section=[2, 3, 12]), "mrope_section must sum"),
        (lambda b: b["model"].update(HUGE), "KV cache of a token"),
        (lambda b: b["model"]["vision"].update(heads=5), "vision heads must divide"),
        (lambda b: b["model"]["vision"].update(hidden_size=4128, heads=4), "vision head size"),
        (lambda b: b["model"]["vision"].update(out_hidden_size=64), "out_hidden_size"),
        (lambda b: b["model"]["vision"].update(full_attention_blocks=[4]), "below depth"),
        (lambda b: b["model"]["vision"].update(full_attention_blocks=[3, 3]), "must be different"),
        (lambda b: b["model"]["vision"].update(window_size=27), "window_size"),
        (lambda b: b["model"]["vision"].update(window_size=14 * 65), "window_size"),
        (lambda b: b["preprocessing"].update(merge_size=4), "same patch and merge sizes"),
        (lambda b: b["protocol"].update(min_pixels=50_177), "min_pixels"),
        (lambda b: b["protocol"].update(min_pixels=1, max_pixels=783), "max_pixels"),
        (lambda b: b["protocol"]["tool"].update(crops=["0", "0"]), "tool.crops must be different"),
        (lambda b: b["protocol"]["tool"].update(crops=["9"]), "offer known crops"),
        (lambda b: b["protocol"]["tool"].update(closing="}"), "not a call that can be read"),
        (lambda b: b["protocol"]["region"].update(boxes="evaluator"), "region.min_side"),
        (lambda b: b["protocol"]["region"].update(coordinates="view"), "region.coordinates"),
        (lambda b: b["tokens"].update(im_end=499), "structure tokens"),
        (lambda b: b["tokens"].update(image_pad=512), "below vocabulary"),
        (lambda b: b["tokens"].update(eos=[512]), "eos tokens"),
        (
            lambda b: b["files"].update({"text.data/x": b["files"]["text.data"]}),
            "folder of another",
        ),
        (lambda b: b["files"].update({MANIFEST_NAME: b["files"]["text.data"]}), "list itself"),
    ],
)
def test_fields_that_contradict_each_other(change, rule):
    body = json.loads(NANO)
    change(body)
    with pytest.raises(BundleError, match=f"manifest is inconsistent: .*{rule}"):
        Manifest.from_json(json.dumps(body))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a":' * 100_000, "not valid JSON"),
        ('{"a": 1' + "0" * 5000 + "}", "not valid JSON"),
        ("[]", "must hold a JSON object"),
        ("\ufeff{}", "not valid JSON"),
    ],
)
def test_json_that_readers_would_understand_differently(text, message):
    with pytest.raises(BundleError, match=message) as caught:
        parse_json(text, "manifest.json")
    assert len(str(caught.value)) < 120


def test_a_long_unknown_field_is_cut_in_the_message():
    text = NANO.replace('"runtime"', f'"{"r" * 100_000}"')
    with pytest.raises(BundleError, match=r"unknown field 'r+'\.\.\.") as caught:
        Manifest.from_json(text)
    assert len(str(caught.value)) < 120
