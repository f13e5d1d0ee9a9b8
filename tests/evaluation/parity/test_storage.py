"""A recording survives its file, and a damaged file is refused."""

import json
import zipfile
from dataclasses import asdict

import numpy as np
import pytest

from awares_edge.errors import InputError
from awares_edge.evaluation.parity import Limits, compare, load, save


@pytest.fixture
def saved(recording, tmp_path):
    path = tmp_path / "nano.parity"
    save(recording, path)
    return path


def test_nothing_is_lost(recording, saved):
    found = load(saved)
    assert found.about == recording.about
    assert found.rows == recording.rows
    assert found.probes.keys() == recording.probes.keys()
    for number, probe in recording.probes.items():
        same = found.probes[number]
        assert (same.turns, same.reuse_drift) == (probe.turns, probe.reuse_drift)
        np.testing.assert_array_equal(same.logits, probe.logits)
        for ours, theirs in zip(
            (probe.view, *probe.images), (same.view, *same.images), strict=True
        ):
            assert ours.grid == theirs.grid
            np.testing.assert_array_equal(ours.pixels, theirs.pixels)
        for ours, theirs in zip(probe.features, same.features, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert compare(recording, found, Limits(drift=0.0))["agrees"]


def test_the_file_says_what_it_is(saved):
    with zipfile.ZipFile(saved) as archive:
        index = json.loads(archive.read("parity.json"))
    assert (index["format"], index["version"]) == ("awares-edge-parity", 1)
    assert len(index["about"]["protocol_sha256"]) == len(index["about"]["questions_sha256"]) == 64
    assert "0/logits.npy" in index["arrays"]
    with np.load(saved, allow_pickle=False) as arrays:
        assert arrays["0/logits"].dtype == np.float32


def test_a_truncated_file_is_refused(saved):
    whole = saved.read_bytes()
    for share in (0.0, 0.01, 0.5, 0.9, 0.999):
        saved.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="not a whole parity file"):
            load(saved)


def test_a_changed_byte_is_found_out(saved):
    whole = bytearray(saved.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(whole), 40):
        changed = bytearray(whole)
        changed[at] ^= 0x55
        saved.write_bytes(changed)
        try:
            load(saved)
        except InputError:
            refused += 1
    # A few bytes of a zip, such as dates, mean nothing.
    assert refused >= 36


def rewrite(path, change):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    index = json.loads(files["parity.json"])
    change(index)
    files["parity.json"] = json.dumps(index).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index["rows"].pop(),
        lambda index: index["rows"][0].pop("answer"),
        lambda index: index["about"].pop("vocabulary"),
        lambda index: index["about"]["questions"].update(split="other"),
        lambda index: index["about"]["questions"].update(seed=-1),
        lambda index: index["probes"]["0"]["turns"][0]["reply"].append(3),
        lambda index: index["probes"]["0"]["turns"][0]["prompt"].append(77),
        lambda index: index["probes"]["0"]["view"]["grid"].update(height=2),
        lambda index: index["probes"].update({"999": index["probes"]["0"]}),
        lambda index: index["arrays"].update({"0/none.npy": "0"}),
        lambda index: index.update(rows=3),
    ],
)
def test_an_index_that_does_not_fit_is_refused(saved, change):
    rewrite(saved, change)
    with pytest.raises(InputError, match="not a whole parity file"):
        load(saved)


def test_another_version_or_format_is_named(saved):
    rewrite(saved, lambda index: index.update(version=2))
    with pytest.raises(InputError, match="format version 2, this awares-edge reads 1"):
        load(saved)
    rewrite(saved, lambda index: index.update(format="other"))
    with pytest.raises(InputError, match="is not a parity file"):
        load(saved)


def test_no_pickle_is_loaded(saved, tmp_path):
    import hashlib
    import pickle

    payload = pickle.dumps({"a": 1})
    rewrite(saved, lambda index: index["arrays"].update(
        {"0/logits.npy": hashlib.sha256(payload).hexdigest()}))  # fmt: skip
    with zipfile.ZipFile(saved) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["0/logits.npy"] = payload
    with zipfile.ZipFile(saved, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match="not a whole parity file"):
        load(saved)


def test_rows_are_plain_json(recording):
    assert json.loads(json.dumps(asdict(recording.rows[0])))["question"]
