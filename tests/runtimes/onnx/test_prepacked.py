"""Packed weights on disk: used only where they are whole, of this bundle and for this CPU."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

pytest.importorskip("torch")

from awares_edge.bundle import Bundle
from awares_edge.export import export_checkpoint
from awares_edge.protocol.profiles import get_profile
from awares_edge.runtimes.base import ImageSegment, TextSegment
from awares_edge.runtimes.onnx import OnnxRuntime, graphs, prepacked
from tests.support.checkpoints import make_checkpoint
from tests.support.pairs import noise_patches


@pytest.fixture(scope="module", params=["int8", "int8+int4"])
def bundle(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("prepacked")
    checkpoint = make_checkpoint(root / "model", "untied")
    profile = get_profile("paper")
    return export_checkpoint(checkpoint, root / "b", precision=request.param, profile=profile)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The cache folder; tiny bundles are packed too."""
    monkeypatch.setenv("AWARES_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepacked, "MIN_BYTES", 0)
    return tmp_path / "cache" / "prepacked"


@pytest.fixture
def opened(monkeypatch):
    """Paths of the graphs that were opened, as they are opened."""
    paths = []
    original = graphs.open_graph

    def recording(path, *rest):
        paths.append(path)
        return original(path, *rest)

    monkeypatch.setattr(graphs, "open_graph", recording)
    return paths


def answer(bundle, **options):
    with OnnxRuntime.load(bundle, threads=1, **options) as runtime, runtime.open_session() as s:
        image = ImageSegment(runtime.encode_image(noise_patches(112, 168, 1)))
        first = s.prefill([TextSegment((5, 6, 7)), image, TextSegment((8, 9))], keep_logits=2)
        return np.concatenate([first, s.decode(4)[None]])


def kept(folder):
    """Everything in the one packed folder, hidden files included."""
    (root,) = folder.iterdir()
    return {path.name: path for path in root.iterdir()}


def test_packed_weights_compute_the_same(bundle, folder):
    plain = answer(bundle, prepacked=False)
    assert not folder.exists()
    assert np.array_equal(answer(bundle), plain)
    assert set(kept(folder)) == {
        *("index.json", "text.onnx", "text.data", "vision.onnx", "vision.data")
    }
    assert np.array_equal(answer(bundle), plain)


def test_they_are_made_once(bundle, folder, opened):
    answer(bundle)
    del opened[:]
    answer(bundle)
    files = kept(folder)
    assert sorted(opened) == [files["text.onnx"], files["vision.onnx"]]


def test_each_file_is_hashed_once_a_load(bundle, folder, monkeypatch):
    hashed = []
    original = prepacked.hash_file

    def recording(path):
        hashed.append(path)
        return original(path)

    monkeypatch.setattr(prepacked, "hash_file", recording)
    for _ in ("made", "found"):
        answer(bundle)
        packed = sorted(path.name for path in hashed if path.is_relative_to(folder))
        assert packed == ["text.data", "text.onnx", "vision.data", "vision.onnx"]
        del hashed[:]


def test_files_of_a_process_that_was_first_are_checked(bundle, folder, opened, monkeypatch):
    """Damaged ones are not used, and are made again by the next load."""
    original = prepacked.place_folder

    def second(source, target, *, replace):
        shutil.copytree(source, target)
        (target / "text.data").write_bytes(b"damaged")
        original(source, target, replace=replace)

    monkeypatch.setattr(prepacked, "place_folder", second)
    answer(bundle)
    assert kept(folder)["text.onnx"] not in opened
    monkeypatch.setattr(prepacked, "place_folder", original)
    answer(bundle)
    assert kept(folder)["text.onnx"] in opened


@pytest.mark.parametrize("name", ["text.data", "vision.onnx", "index.json"])
@pytest.mark.parametrize("damage", ["changed", "short", "missing", "link"])
def test_damaged_files_are_made_again(bundle, folder, name, damage):
    expected = answer(bundle)
    path = kept(folder)[name]
    whole = path.read_bytes()
    middle = len(whole) // 2
    if damage == "changed":
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "short":
        path.write_bytes(whole[:middle])
    elif damage == "missing":
        path.unlink()
    else:
        other = path.with_name("elsewhere")
        path.rename(other)
        path.symlink_to(other)
    assert np.array_equal(answer(bundle), expected)
    assert kept(folder)[name].read_bytes() == whole
    assert not kept(folder)[name].is_symlink()


@pytest.mark.parametrize("fact", ["bundle", "onnxruntime", "cpu"])
def test_every_fact_of_the_key_counts(bundle, folder, opened, fact):
    answer(bundle)
    index = kept(folder)["index.json"]
    facts = json.loads(index.read_text())
    facts["key"][fact] = "another"
    index.write_text(json.dumps(facts))
    del opened[:]
    answer(bundle)
    assert bundle.path("text.onnx") in opened


def test_another_cpu_or_version_gets_a_folder_of_its_own(bundle, folder, monkeypatch):
    answer(bundle)
    monkeypatch.setattr(prepacked.cpu, "features", lambda: frozenset({"sse9"}))
    answer(bundle)
    monkeypatch.setattr(prepacked.ort, "__version__", "99.0")
    answer(bundle)
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("value", ["0", None])
def test_it_can_be_turned_off(bundle, folder, monkeypatch, value):
    if value is not None:
        monkeypatch.setenv(prepacked.SWITCH, value)
    answer(bundle, prepacked=value is not None)
    assert not folder.exists()


def test_only_large_quantized_bundles_are_packed(bundle, folder, tmp_path, monkeypatch):
    checkpoint = make_checkpoint(tmp_path / "model", "untied")
    answer(export_checkpoint(checkpoint, tmp_path / "b", profile=get_profile("paper")))
    monkeypatch.setattr(prepacked, "MIN_BYTES", 64 << 20)
    answer(bundle)
    monkeypatch.setattr(prepacked.cpu, "features", lambda: frozenset())
    monkeypatch.setattr(prepacked, "MIN_BYTES", 0)
    answer(bundle)
    assert not folder.exists()


def test_a_bundle_that_is_not_what_its_manifest_says_is_not_packed(bundle, folder, tmp_path):
    """It was opened without comparing hashes: its weights must not be taken later for those of the
    bundle that has the hashes."""
    forged = tmp_path / "forged"
    shutil.copytree(bundle.root, forged)
    weights = forged / "text.data"
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.write_bytes(data)
    answer(Bundle.open(forged, verify=False))
    assert not list(folder.iterdir())


def test_a_folder_that_others_can_write_to_is_not_used(bundle, folder, opened):
    answer(bundle)
    folder.chmod(0o777)
    del opened[:]
    answer(bundle)
    assert opened == [bundle.path("text.onnx"), bundle.path("vision.onnx")]


def test_a_new_folder_belongs_to_this_user_alone(bundle, folder):
    answer(bundle)
    (root,) = folder.iterdir()
    assert [path.stat().st_mode & 0o777 for path in (folder, root)] == [0o700, 0o700]


class TestNoRoom:
    """Without a place for them, weights are packed into memory as ever."""

    def test_a_full_disk(self, bundle, folder, monkeypatch):
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(prepacked.shutil, "disk_usage", lambda _: usage(100, 100, 0))
        assert np.isfinite(answer(bundle)).all()
        assert not list(folder.iterdir())

    def test_a_file_in_the_way(self, bundle, folder):
        folder.parent.write_text("not a folder")
        assert np.isfinite(answer(bundle)).all()

    def test_a_disk_that_fills_up_in_the_middle(self, bundle, folder, monkeypatch):
        def full(source, target, *, replace):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(prepacked, "place_folder", full)
        assert np.isfinite(answer(bundle)).all()
        assert not list(folder.iterdir())

    def test_files_that_vanish_after_they_were_found(self, bundle, monkeypatch):
        expected = answer(bundle)
        original = prepacked.PackedCache.get

        def vanishing(self, bundle, pack):
            found = original(self, bundle, pack)
            shutil.rmtree(self.folder)
            return found

        monkeypatch.setattr(prepacked.PackedCache, "get", vanishing)
        assert np.array_equal(answer(bundle), expected)


def test_two_processes_at_once(bundle, folder):
    code = (
        "import sys; from awares_edge.runtimes.onnx import OnnxRuntime, prepacked\n"
        "from awares_edge.bundle import Bundle; prepacked.MIN_BYTES = 0\n"
        "OnnxRuntime.load(Bundle.open(sys.argv[1]), threads=1)"
    )
    command = [sys.executable, "-c", code, str(bundle.root)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert len(list(folder.iterdir())) == 1
    assert np.array_equal(answer(bundle), answer(bundle, prepacked=False))
