"""Every layout of a checkpoint reads as the same model."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from awares_edge.checkpoint import Checkpoint, read_eos, read_preprocessing
from awares_edge.checkpoint.names import expected_shapes
from awares_edge.vision import Preprocessing
from tests.support.checkpoints import SHAPES, make_checkpoint, write_json


def whole(checkpoint, name):
    tensor = checkpoint.tensor(name)
    return tensor.rows(0, tensor.shape[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("layout", "shards"), [("v5", 3), ("v4", 1), ("v4", 2)])
def test_layouts_and_shards_are_equal(tmp_path, shape, layout, shards):
    plain = Checkpoint.open(make_checkpoint(tmp_path / "a" / "m", shape))
    other = Checkpoint.open(
        make_checkpoint(tmp_path / "b" / "m", shape, layout=layout, shards=shards)
    )
    assert other.spec == plain.spec
    assert other.parameters == plain.parameters
    for name in expected_shapes(plain.spec):
        np.testing.assert_array_equal(whole(other, name), whole(plain, name))


def test_the_spec_says_what_the_config_says(tied):
    spec, shape = Checkpoint.open(tied).spec, SHAPES["tied"]
    assert (spec.layers, spec.hidden_size, spec.heads, spec.kv_heads) == (4, 96, 3, 1)
    assert (spec.head_dim, spec.vocabulary, spec.tied) == (32, 512, True)
    assert (spec.rope_theta, spec.mrope_section) == (10_000.0, (4, 6, 6))
    assert (spec.norm_eps, spec.context) == (1e-6, shape.context)
    vision = spec.vision
    assert (vision.depth, vision.hidden_size, vision.heads) == (4, 64, 2)
    assert (vision.full_attention_blocks, vision.window_size) == ((0, 3), 112)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtypes_widen_to_float32(tmp_path, dtype):
    root = make_checkpoint(tmp_path / "m", "untied", dtype=dtype)
    ours = whole(Checkpoint.open(root), "text.norm.weight")
    theirs = load_file(root / "model.safetensors")["model.language_model.norm.weight"]
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs.to(torch.float32).numpy())


def test_rows_are_a_part_of_the_tensor(untied):
    tensor = Checkpoint.open(untied).tensor("text.embed_tokens.weight")
    all_rows = tensor.rows(0, tensor.shape[0])
    np.testing.assert_array_equal(tensor.rows(7, 12), all_rows[7:12])


def test_a_model_card_gives_license_and_base(folder):
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: Qwen/X\n---\nHello")
    spec = Checkpoint.open(folder).spec
    assert (spec.license, spec.base_model) == ("apache-2.0", "Qwen/X")


def test_a_tied_checkpoint_may_repeat_its_embedding(tied_folder):
    from tests.support.checkpoints import write_tensors

    tensors = load_file(tied_folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.language_model.embed_tokens.weight"].clone()
    write_tensors(tied_folder, tensors)
    assert Checkpoint.open(tied_folder).spec.tied


def test_buffers_of_old_versions_are_left_out(folder):
    from tests.support.checkpoints import write_tensors

    tensors = load_file(folder / "model.safetensors")
    tensors["model.visual.rotary_pos_emb.inv_freq"] = torch.zeros(4)
    write_tensors(folder, tensors)
    Checkpoint.open(folder)


class TestPreprocessing:
    def test_defaults_without_a_file(self, tmp_path):
        assert read_preprocessing(tmp_path) == Preprocessing()

    def test_values_of_the_file(self, tmp_path):
        write_json(tmp_path / "preprocessor_config.json", {"image_mean": [0.5, 0.4, 0.3]})
        assert read_preprocessing(tmp_path).image_mean == (0.5, 0.4, 0.3)

    def test_values_nested_as_transformers_5_writes_them(self, tmp_path):
        nested = {"image_processor": {"image_std": [0.5, 0.5, 0.5], "patch_size": 16}}
        write_json(tmp_path / "processor_config.json", nested)
        rules = read_preprocessing(tmp_path)
        assert (rules.patch_size, rules.image_std) == (16, (0.5, 0.5, 0.5))


class TestEndOfAnswer:
    def test_generation_config_comes_first(self, tmp_path):
        write_json(tmp_path / "generation_config.json", {"eos_token_id": [5, 6]})
        write_json(tmp_path / "config.json", {"eos_token_id": 7})
        assert read_eos(tmp_path) == (5, 6)

    @pytest.mark.parametrize("config", [{"eos_token_id": 7}, {"text_config": {"eos_token_id": 7}}])
    def test_config_comes_second(self, tmp_path, config):
        write_json(tmp_path / "config.json", config)
        assert read_eos(tmp_path) == (7,)
