"""Bundles: pinned by hash, written whole or not at all, and only listed files are read."""

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
        writer.path("weights/text.data").write_bytes(content)
        return writer.commit(MANIFEST).root


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
    assert opened.path("weights/text.data").read_bytes() == b"weights"
    assert set(opened.manifest.files) == {TOKENIZER_NAME, "weights/text.data"}


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
    (bundle / "weights/text.data").write_bytes(b"weighty")
    with pytest.raises(BundleError, match=r"text\.data does not have the hash"):
        Bundle.open(bundle)
    Bundle.open(bundle, verify=False)


def test_a_truncated_or_missing_file_is_found_even_without_hashing(bundle):
    (bundle / "weights/text.data").write_bytes(b"w")
    with pytest.raises(BundleError, match="has 1 bytes, the manifest says 7"):
        Bundle.open(bundle, verify=False)
    (bundle / "weights/text.data").unlink()
    with pytest.raises(BundleError, match="is missing"):
        Bundle.open(bundle, verify=False)


@pytest.mark.parametrize(
    "name",
    [
        *("../secret", "/etc/passwd", "a/../../b", "..", "a\\b", "C:x", "", ".", "a//b", "a/"),
        *("./a", "a/.", "a\n", "a\0b", "\ud800", "é", "x" * 256),
    ],
)
def test_a_path_that_leaves_the_bundle_is_refused(bundle, name):
    edit(bundle, lambda body: body["files"].update({name: {"bytes": 1, "sha256": "0" * 64}}))
    with pytest.raises(BundleError, match="must be a file name inside the bundle") as caught:
        Bundle.open(bundle)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["weights/text.data", "weights", MANIFEST_NAME])
@pytest.mark.parametrize("inside", [True, False])
def test_a_symbolic_link_is_refused_wherever_it_leads(bundle, tmp_path, name, inside):
    target = (bundle if inside else tmp_path) / "elsewhere"
    (bundle / name).rename(target)
    (bundle / name).symlink_to(target)
    with pytest.raises(BundleError, match=r"leaves the bundle.*cp -rL"):
        Bundle.open(bundle)


def test_the_folder_itself_may_be_a_link(bundle, tmp_path):
    (tmp_path / "latest").symlink_to(bundle)
    Bundle.open(tmp_path / "latest")


def test_a_hard_link_is_a_file_like_any_other(bundle, tmp_path):
    (bundle / "weights/text.data").rename(tmp_path / "blob")
    os.link(tmp_path / "blob", bundle / "weights/text.data")
    Bundle.open(bundle)


def test_a_pipe_is_never_opened(bundle):
    (bundle / "weights/text.data").unlink()
    os.mkfifo(bundle / "weights/text.data")
    with pytest.raises(BundleError, match="not a regular file"):
        Bundle.open(bundle)


def test_files_that_are_not_listed_are_named(bundle):
    assert Bundle.open(bundle).unlisted() == []
    (bundle / "weights/notes.txt").write_text("mine")
    assert Bundle.open(bundle).unlisted() == ["weights/notes.txt"]


def test_a_manifest_that_could_not_be_read_back_is_not_written(tmp_path):
    wrong = replace(MANIFEST, tokens=replace(MANIFEST.tokens, im_end=300))
    with pytest.raises(BundleError, match="below vocabulary"):
        wrong.to_json()


def test_other_versions_say_what_to_do(bundle):
    edit(bundle, lambda body: body.update(version=3))
    with pytest.raises(BundleError, match=r"format version 3.*reads 1 and 2: update awares-edge"):
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
        (
            lambda b: b["model"].update(layers=0),
            r"layers must be a whole number between 1 and 1024",
        ),
        (lambda b: b["model"].update(norm_eps=10**400), r"norm_eps must be of type float"),
        (lambda b: b["model"].update(name="\ud800"), r"name must be valid text"),
        (
            lambda b: b["provenance"].update({"x" * 99: ""}),
            r"has the key 'x+'\.\.\., which must be",
        ),
        (lambda b: b["tokens"].update(eos=[2] * 65), r"eos must be of 1 to 64 items, it has 65"),
        (lambda b: b["model"].update(mrope_section=[1, 2]), "must have 3 items"),
        (
            lambda b: b["protocol"]["region"].update(boxes="x"),
            "must be one of 'halves', 'evaluator'",
        ),
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
    assert Bundle.open(bundle).path("weights/text.data").read_bytes() == b"new"
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
    assert Bundle.open(bundle).path("weights/text.data").read_bytes() == b"weights"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ExportError, match="cannot write to"), BundleWriter(tmp_path / "a" / "b"):
        pass
