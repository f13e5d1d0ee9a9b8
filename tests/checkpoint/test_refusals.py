"""An incomplete Qwen2.5-VL checkpoint is refused before anything is loaded."""

import json
import pickle
import struct

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from awares_edge.checkpoint import Checkpoint, read_preprocessing
from awares_edge.checkpoint.safetensors_header import read_header
from awares_edge.checkpoint.tensorfile import narrow
from awares_edge.errors import CheckpointError
from tests.support.checkpoints import make_checkpoint, write_json, write_tensors


def refused(root, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        Checkpoint.open(root)
    assert "\n" not in str(caught.value)


def edit(path, **changes):
    config = json.loads(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        at = config
        for parent in parents:
            at = at[parent]
        at[last] = value
    write_json(path, config)


def edit_tensors(root, change):
    tensors = load_file(root / "model.safetensors")
    change(tensors)
    write_tensors(root, tensors)


def safetensors_bytes(spans, data):
    """A file of float32 vectors at these byte spans, with `data` bytes after the header."""
    header = {
        name: {"dtype": "F32", "shape": [(stop - start) // 4], "data_offsets": [start, stop]}
        for name, (start, stop) in spans.items()
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


NORM = "model.language_model.norm.weight"


class TestFolder:
    def test_there_is_none(self, tmp_path):
        refused(tmp_path / "nowhere", "no such checkpoint folder")

    def test_it_is_empty(self, tmp_path):
        refused(tmp_path, "has no config.json")

    def test_without_weights(self, folder):
        (folder / "model.safetensors").unlink()
        refused(folder, "neither model.safetensors nor")

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
    def test_pickles_are_never_loaded(self, folder, name):
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps({"a": 1}))
        refused(folder, "pickled weights, which are never loaded: convert them to safetensors")

    def test_without_a_tokenizer(self, folder):
        (folder / "tokenizer.json").unlink()
        refused(folder, "has no tokenizer.json")


class TestConfig:
    @pytest.mark.parametrize("kind", ["qwen2_vl", "qwen3_vl", "llama", None, 7])
    def test_of_another_architecture(self, folder, kind):
        edit(folder / "config.json", model_type=kind)
        refused(folder, "give a Qwen2.5-VL checkpoint")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"text_config__hidden_act": "gelu"}, "hidden_act 'gelu'"),
            ({"text_config__hidden_size": "64"}, "'hidden_size' must be a whole number"),
            ({"text_config__hidden_size": 10**12}, "'hidden_size' must be a whole number"),
            ({"text_config__num_attention_heads": 3}, "do not divide"),
            ({"text_config__num_hidden_layers": True}, "'num_hidden_layers' must be"),
            ({"text_config__use_sliding_window": True}, "sliding-window"),
            ({"text_config__rms_norm_eps": -1}, "'rms_norm_eps' must be a positive number"),
            ({"text_config": []}, "'text_config' must be an object"),
            (
                {"text_config__rope_parameters": {"rope_type": "yarn", "mrope_section": [2, 3, 3]}},
                "rope type 'yarn'",
            ),
            (
                {"text_config__rope_parameters__mrope_section": [1, 2, 3]},
                "must be three numbers that sum to half",
            ),
            ({"vision_config__out_hidden_size": 32}, "out_hidden_size 32 must equal"),
            ({"vision_config__fullatt_block_indexes": [-1]}, "must be a list of whole numbers"),
            ({"vision_config__window_size": 14}, "smaller than one visual token"),
            ({"quantization_config": {"quant_method": "awq"}}, "is quantized"),
        ],
    )
    def test_with_values_that_cannot_be(self, folder, change, message):
        edit(folder / "config.json", **change)
        refused(folder, message)

    @pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\udcff"])
    def test_that_is_no_json_object(self, folder, text):
        (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        refused(folder, r"JSON")

    def test_that_is_huge(self, folder):
        with (folder / "config.json").open("wb") as file:
            file.truncate(1 << 27)
        refused(folder, "not a configuration")


class TestTensors:
    def test_one_is_missing(self, folder):
        edit_tensors(folder, lambda t: t.pop(NORM))
        refused(folder, r"lacks 1 tensors, first text\.norm\.weight")

    def test_one_is_unexpected(self, folder):
        edit_tensors(folder, lambda t: t.update({"model.visual.extra": torch.zeros(2)}))
        refused(folder, "config.json does not know, first visual.extra")

    def test_one_has_a_foreign_name(self, folder):
        edit_tensors(folder, lambda t: t.update({"score.weight": torch.zeros(2)}))
        refused(folder, "score.weight, which is not a tensor of Qwen2.5-VL")

    def test_one_has_a_wrong_shape(self, folder):
        edit_tensors(folder, lambda t: t.update({NORM: torch.zeros(63)}))
        refused(folder, r"text.norm.weight has shape \[63\], config.json says \[64\]")

    def test_one_is_quantized(self, folder):
        edit_tensors(folder, lambda t: t.update({NORM: torch.zeros(64, dtype=torch.int8)}))
        refused(folder, "stored as I8: give the unquantized checkpoint")

    def test_both_names_of_one(self, folder):
        edit_tensors(folder, lambda t: t.update({"model.norm.weight": t[NORM].clone()}))
        refused(folder, "twice")

    def test_a_tied_head_that_differs(self, tied_folder):
        edit_tensors(tied_folder, lambda t: t.update({"lm_head.weight": torch.zeros(512, 96)}))
        refused(tied_folder, "ties the head to the embedding, but lm_head.weight differs")

    def test_an_untied_head_is_missing(self, folder):
        edit_tensors(folder, lambda t: t.pop("lm_head.weight"))
        refused(folder, "first lm_head.weight")


class TestFiles:
    def test_truncated(self, folder):
        path = folder / "model.safetensors"
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 8)
        refused(folder, "truncated")

    @pytest.mark.parametrize(
        "content", [b"", b"abc", struct.pack("<Q", 1 << 60), struct.pack("<Q", 4) + b"null"]
    )
    def test_no_safetensors_file(self, folder, content):
        (folder / "model.safetensors").write_bytes(content)
        refused(folder, "not a complete safetensors file|broken header")

    @pytest.mark.parametrize(
        "entry",
        [
            {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]},
            {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
            {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]},
            {"dtype": "F32", "shape": "4", "data_offsets": [0, 16]},
            {"dtype": "F32"},
            7,
        ],
    )
    def test_a_header_that_lies(self, folder, entry):
        head = json.dumps({NORM: entry}).encode()
        content = struct.pack("<Q", len(head)) + head + bytes(64)
        (folder / "model.safetensors").write_bytes(content)
        refused(folder, "is broken")

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ('{"a": 1, "a": 2}', "broken header"),
            (' {"a": 1}', "broken header"),
            ('{"a": NaN}', "broken header"),
            ('{"__metadata__": {"a": 1}}', "broken header"),
            ("[" * 100_000, "broken header"),
            ('{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}', "is stored as"),
        ],
    )
    def test_a_header_that_is_not_strict_json(self, folder, text, match):
        content = struct.pack("<Q", len(text)) + text.encode() + bytes(4)
        (folder / "model.safetensors").write_bytes(content)
        refused(folder, match)

    @pytest.mark.parametrize(
        ("spans", "match"),
        [
            ({"a": (0, 8), "b": (4, 12)}, "b overlaps another tensor or leaves a gap"),
            ({"a": (0, 4), "b": (0, 4)}, "b overlaps another tensor or leaves a gap"),
            ({"a": (0, 4), "b": (8, 12)}, "b overlaps another tensor or leaves a gap"),
            ({"a": (4, 12)}, "a overlaps another tensor or leaves a gap"),
            ({"a": (0, 8)}, "4 bytes after its tensors"),
            ({"a": (0, 16)}, "truncated"),
        ],
    )
    def test_tensors_must_fill_the_file_without_overlap(self, tmp_path, spans, match):
        path = tmp_path / "a.safetensors"
        path.write_bytes(safetensors_bytes(spans, 12))
        with pytest.raises(CheckpointError, match=match):
            read_header(path)
        with pytest.raises(SafetensorError), safe_open(path, "numpy"):
            pass

    def test_a_file_that_the_official_library_reads_is_read(self, tmp_path):
        path = tmp_path / "a.safetensors"
        path.write_bytes(safetensors_bytes({"b": (4, 12), "e": (4, 4), "a": (0, 4)}, 12))
        with safe_open(path, "numpy") as official:
            shapes = {name: tuple(official.get_slice(name).get_shape()) for name in "abe"}
        assert {name: s.shape for name, s in read_header(path).items()} == shapes


class TestNumbers:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_nan_and_infinity_are_refused_by_the_tensors_name(self, folder, dtype, value):
        def damage(tensors):
            for name, tensor in tensors.items():
                tensors[name] = tensor.to(dtype)
            tensors[NORM][7] = value

        edit_tensors(folder, damage)
        tensor = Checkpoint.open(folder).tensor("text.norm.weight")
        with pytest.raises(CheckpointError, match=f"{NORM} holds NaN or infinite numbers"):
            tensor.rows(0, 64)
        assert np.isfinite(tensor.rows(8, 64)).all()

    def test_overflow_in_fp16_is_refused(self):
        array = np.array([65504, -65504], dtype=np.float32)
        np.testing.assert_array_equal(narrow(array, np.dtype(np.float16), "a"), array)
        with pytest.raises(CheckpointError, match="a overflows in fp16: export it in bf16 or fp32"):
            narrow(array * 2, np.dtype(np.float16), "a")


class TestShards:
    @pytest.fixture
    def sharded(self, tmp_path):
        return make_checkpoint(tmp_path / "sharded", "untied", shards=2)

    def test_one_is_missing(self, sharded):
        (sharded / "model-00002-of-00002.safetensors").unlink()
        refused(sharded, "download all shards")

    @pytest.mark.parametrize("file", ["../x.safetensors", "/etc/x.safetensors", "a\\b.safetensors"])
    def test_the_index_leaves_the_folder(self, sharded, file):
        edit(sharded / "model.safetensors.index.json", weight_map={NORM: file})
        refused(sharded, "is not a file of the checkpoint folder")

    def test_the_index_names_a_pickle(self, sharded):
        edit(sharded / "model.safetensors.index.json", weight_map={NORM: "model.bin"})
        refused(sharded, "not a safetensors file")

    def test_the_index_names_the_wrong_shard(self, sharded):
        path = sharded / "model.safetensors.index.json"
        index = json.loads(path.read_text())["weight_map"]
        first, second = sorted(set(index.values()))
        name = next(n for n, file in index.items() if file == first)
        edit(path, weight_map={**index, name: second})
        refused(sharded, "which model.safetensors.index.json says it holds")

    @pytest.mark.parametrize("weight_map", [{}, {"a": 7}, []])
    def test_the_index_is_broken(self, sharded, weight_map):
        edit(sharded / "model.safetensors.index.json", weight_map=weight_map)
        refused(sharded, "lists no tensors|is not a file|must be an object")


class TestPreprocessor:
    @pytest.mark.parametrize(
        "change",
        [
            {"do_normalize": False},
            {"resample": 2},
            {"rescale_factor": 1.0},
            {"image_mean": [0.5, 0.5]},
            {"image_std": [0.5, 0.5, 0.0]},
            {"patch_size": "14"},
        ],
    )
    def test_other_rules_are_refused(self, folder, change):
        edit(folder / "preprocessor_config.json", **change)
        with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
            read_preprocessing(folder)
