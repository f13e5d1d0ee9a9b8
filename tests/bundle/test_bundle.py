"""Bundles: pinned by hash, written whole or not at all, trusted in nothing."""

import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awares_edge.bundle import Bundle, BundleWriter, Manifest
from awares_edge.errors import BundleError, ExportError
from awares_edge.protocol import PROFILES, SpecialTokens
from awares_edge.spec import MANIFEST_NAME, TOKENIZER_NAME, ModelSpec, VisionSpec
from awares_edge.vision import Preprocessing

VISION = VisionSpec(32, 48, 2, 2, 112, (1,), 64)
MODEL = ModelSpec(
    "tiny", "apache-2.0", "", 64, 96, 2, 4, 2, 16, 300, 1e6, (2, 3, 3), 1e-6, True, 512, VISION
)
MANIFEST = Manifest(
    "onnx",
    "fp32",
    MODEL,
    PROFILES["paper"],
    Preprocessing(),
    SpecialTokens(1, 2, 3, 4, 5, (2,)),
    {},
    {"checkpoint": "tiny"},
)


def write(target, overwrite=False, content=b"weights"):
    with BundleWriter(target, overwrite=overwrite) as writer:
        writer.path(TOKENIZER_NAME).write_text("{}")
        writer.path("graphs/text.onnx").write_bytes(content)
        return writer.commit(MANIFEST)


@pytest.fixture
def bundle(tmp_path):
    return write(tmp_path / "bundle")


def edit(bundle, change):
    path = bundle / MANIFEST_NAME
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def test_what_was_written_is_read_back(bundle):
    opened = Bundle.open(bundle)
    assert replace(opened.manifest, files={}) == MANIFEST
    assert opened.path("graphs/text.onnx").read_bytes() == b"weights"
    assert set(opened.manifest.files) == {TOKENIZER_NAME, "graphs/text.onnx"}


def test_the_same_content_gives_the_same_bytes(tmp_path):
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert (one / MANIFEST_NAME).read_bytes() == (two / MANIFEST_NAME).read_bytes()


def test_the_protocol_hash_changes_with_anything_that_the_model_is_shown(bundle):
    manifest = Bundle.open(bundle).manifest
    changed = [
        replace(manifest, protocol=PROFILES["readme"]),
        replace(manifest, tokens=replace(manifest.tokens, im_end=9)),
        replace(manifest, preprocessing=Preprocessing(image_mean=(0.5, 0.5, 0.5))),
    ]
    assert len({m.protocol_sha256 for m in [manifest, *changed]}) == 4
    assert replace(manifest, precision="fp16").protocol_sha256 == manifest.protocol_sha256


def test_one_changed_byte_is_found(bundle):
    (bundle / "graphs/text.onnx").write_bytes(b"weighty")
    with pytest.raises(BundleError, match=r"text\.onnx does not have the hash"):
        Bundle.open(bundle)
    Bundle.open(bundle, verify=False)


def test_a_truncated_or_missing_file_is_found_even_without_hashing(bundle):
    (bundle / "graphs/text.onnx").write_bytes(b"w")
    with pytest.raises(BundleError, match="has 1 bytes, the manifest says 7"):
        Bundle.open(bundle, verify=False)
    (bundle / "graphs/text.onnx").unlink()
    with pytest.raises(BundleError, match="is missing"):
        Bundle.open(bundle, verify=False)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/../../b", "..", "a\\b", "C:x", "", ".", "a//b", MANIFEST_NAME],
)
def test_a_path_that_leaves_the_bundle_is_refused(bundle, name):
    edit(bundle, lambda body: body["files"].update({name: {"bytes": 1, "sha256": "0"}}))
    with pytest.raises(BundleError, match="no file inside the bundle"):
        Bundle.open(bundle)


def test_a_link_out_of_the_bundle_is_refused(bundle, tmp_path):
    (tmp_path / "secret").write_bytes(b"weights")
    (bundle / "graphs/text.onnx").unlink()
    (bundle / "graphs/text.onnx").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle.open(bundle)


def test_other_versions_say_what_to_do(bundle):
    edit(bundle, lambda body: body.update(version=2))
    with pytest.raises(BundleError, match=r"format version 2.*update awares-edge"):
        Bundle.open(bundle)
    edit(bundle, lambda body: body.update(version=0))
    with pytest.raises(BundleError, match="export the checkpoint again"):
        Bundle.open(bundle)


def test_what_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.open(tmp_path / "none")
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        Bundle.open(tmp_path)
    for text in ("", "{", "[]", '{"format": "other"}', "\x00"):
        (tmp_path / MANIFEST_NAME).write_text(text)
        with pytest.raises(BundleError):
            Bundle.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.pop("model"), "lacks the field 'model'"),
        (lambda b: b.update(extra=1), "unknown field 'extra'"),
        (lambda b: b["model"].update(layers="2"), r"manifest\.model\.layers must be of type int"),
        (lambda b: b["model"].update(layers=True), r"manifest\.model\.layers must be of type int"),
        (lambda b: b["model"].update(mrope_section=[1, 2]), "must have 3 items"),
        (lambda b: b["protocol"].update(box_rule="x"), "must be one of 'halves', 'evaluator'"),
        (lambda b: b["files"].pop(TOKENIZER_NAME), "lists no tokenizer.json"),
        (lambda b: b.update(files=[]), "must be an object"),
    ],
)
def test_a_wrong_field_is_named(bundle, change, message):
    edit(bundle, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [("model",), ("model", "vision"), ("protocol",), ("tokens",), ("preprocessing",), ()]


@settings(max_examples=300)
@given(st.sampled_from(FIELDS), st.integers(0, 40), JSON)
def test_any_json_in_any_field_is_read_or_refused(path, index, value):
    body = json.loads(MANIFEST.to_json())
    target = body
    for key in path:
        target = target[key]
    key = sorted(target)[index % len(target)]
    target[key] = value
    try:
        manifest = Manifest.from_json(json.dumps(body))
    except BundleError:
        return
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_leaving_without_commit_leaves_nothing(tmp_path):
    def interrupted():
        with BundleWriter(tmp_path / "bundle") as writer:
            writer.path("text.onnx").write_bytes(b"x" * 100)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(bundle, tmp_path):
    with pytest.raises(ExportError, match="exists: choose another folder or overwrite it"):
        BundleWriter(bundle)
    (tmp_path / "notes").mkdir()
    with pytest.raises(ExportError, match="is not a bundle"):
        BundleWriter(tmp_path / "notes", overwrite=True)


def test_overwriting_replaces_all_of_it_and_leaves_no_traces(bundle, tmp_path):
    write(bundle, overwrite=True, content=b"new")
    assert Bundle.open(bundle).path("graphs/text.onnx").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_failed_rename_keeps_the_old_bundle(bundle, tmp_path, monkeypatch):
    original = type(bundle).replace

    def fail_once(self, target):
        if self.suffix == ".tmp":
            raise OSError(28, "No space left on device")
        return original(self, target)

    monkeypatch.setattr(type(bundle), "replace", fail_once)
    with pytest.raises(OSError, match="No space"):
        write(bundle, overwrite=True, content=b"new")
    assert Bundle.open(bundle).path("graphs/text.onnx").read_bytes() == b"weights"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ExportError, match="cannot write to"), BundleWriter(tmp_path / "a" / "b"):
        pass
