"""Writing bundles: what may be replaced, and who gets a name that two want."""

import json
import os
import stat

import pytest

from awares_edge.bundle import Bundle, BundleWriter
from awares_edge.errors import ExportError
from awares_edge.spec import MANIFEST_NAME, TOKENIZER_NAME
from tests.bundle.test_bundle import MANIFEST, write


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_a_web_app_with_a_manifest_is_not_a_bundle(tmp_path):
    app = tmp_path / "app"
    (app / "src").mkdir(parents=True)
    (app / "src" / "index.js").write_text("work")
    for text in ('{"name": "app"}', "[]", "", "{", '{"format": "other"}', "[" * 100_000):
        (app / MANIFEST_NAME).write_text(text)
        before = contents(app)
        with pytest.raises(ExportError, match="is not a bundle: it will not be overwritten"):
            write(app, overwrite=True)
        assert contents(app) == before
    assert [p.name for p in tmp_path.iterdir()] == ["app"]


@pytest.mark.parametrize("name", ["notes.txt", "graphs/notes.txt", ".git/config"])
def test_a_bundle_with_files_of_others_is_not_replaced(name, tmp_path):
    bundle = write(tmp_path / "bundle")
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text("mine")
    with pytest.raises(ExportError, match=f"holds {name}, which its manifest does not list"):
        write(bundle, overwrite=True)
    assert (bundle / name).read_text() == "mine"


@pytest.mark.parametrize("to", [".", "gone"])
def test_a_link_in_a_bundle_is_a_file_of_others(to, tmp_path):
    bundle = write(tmp_path / "bundle")
    (bundle / "link").symlink_to(to)
    with pytest.raises(ExportError, match="holds link, which"):
        write(bundle, overwrite=True)


def test_what_appears_in_it_during_the_work_is_kept(tmp_path):
    bundle = write(tmp_path / "bundle")

    def overwrite():
        with BundleWriter(bundle, overwrite=True) as writer:
            writer.path(TOKENIZER_NAME).write_text("{}")
            (bundle / "notes.txt").write_text("mine")
            writer.commit(MANIFEST)

    with pytest.raises(ExportError, match=r"holds notes\.txt"):
        overwrite()
    assert (bundle / "notes.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_of_another_version_or_with_damaged_files_is_replaced(tmp_path):
    bundle = write(tmp_path / "bundle")
    body = json.loads((bundle / MANIFEST_NAME).read_text())
    (bundle / MANIFEST_NAME).write_text(json.dumps({**body, "version": 99, "new": 1}))
    (bundle / "weights/text.data").write_bytes(b"cut")
    write(bundle, overwrite=True)
    assert Bundle.open(bundle).path("weights/text.data").read_bytes() == b"weights"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_neither_files_nor_links_are_replaced(kind, overwrite, tmp_path):
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(write(tmp_path / "bundle") if kind == "link" else "gone")
    before = target.lstat()
    with pytest.raises(ExportError, match=r"exists|is not a folder"):
        write(target, overwrite=overwrite)
    assert target.lstat() == before


def test_the_first_of_two_writers_gets_the_name(tmp_path):
    target = tmp_path / "bundle"

    def second():
        with BundleWriter(target) as writer:
            writer.path(TOKENIZER_NAME).write_text("{}")
            write(target, content=b"first")
            writer.commit(MANIFEST)

    with pytest.raises(ExportError, match="written by another program meanwhile"):
        second()
    assert Bundle.open(target).path("weights/text.data").read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_two_that_overwrite_leave_one_whole_bundle(tmp_path):
    target = write(tmp_path / "bundle", content=b"old")
    with BundleWriter(target, overwrite=True) as writer:
        writer.path(TOKENIZER_NAME).write_text("{}")
        write(target, overwrite=True, content=b"first")
        writer.commit(MANIFEST)
    assert set(Bundle.open(target).manifest.files) == {TOKENIZER_NAME}
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_modes_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        bundle = write(tmp_path / "bundle")
    finally:
        os.umask(before)
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o750
    assert {stat.S_IMODE(p.stat().st_mode) for p in bundle.iterdir()} == {0o640, 0o750}


def test_the_current_folder_may_be_the_bundle(tmp_path, monkeypatch):
    bundle = write(tmp_path / "bundle")
    monkeypatch.chdir(bundle)
    write(".", overwrite=True, content=b"new")
    assert Bundle.open(bundle).path("weights/text.data").read_bytes() == b"new"
