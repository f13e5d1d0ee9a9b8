"""LoRA adapters: merged as PEFT merges them, or refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from awares_edge.checkpoint import Adapter, Checkpoint, merge
from awares_edge.checkpoint.names import canonical, expected_shapes
from awares_edge.errors import CheckpointError
from tests.support.checkpoints import write_json

peft = pytest.importorskip("peft")

LANGUAGE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def train_adapter(checkpoint, root, **options):
    """A random adapter of PEFT for a checkpoint; its own merge of it, as a state dict."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(11)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    adapted = peft.get_peft_model(model, peft.LoraConfig(**options))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.1)
    adapted.save_pretrained(root)
    return adapted.merge_and_unload().state_dict()


@pytest.mark.parametrize(
    "options",
    [
        {"r": 4, "lora_alpha": 16, "target_modules": LANGUAGE},
        {"r": 4, "lora_alpha": 16, "use_rslora": True, "target_modules": ["q_proj"]},
        {"r": 2, "target_modules": ["qkv", "proj", "merger.mlp.0", "lm_head"]},
        {"r": 4, "target_modules": LANGUAGE, "fan_in_fan_out": True},
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": LANGUAGE,
            "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.up_proj": 6},
            "alpha_pattern": {"down_proj": 32},
        },
    ],
    ids=["language", "rank-stabilised", "vision-and-head", "fan-in-fan-out", "patterns"],
)
def test_merged_weights_equal_pefts(untied, tmp_path, options):
    if "proj" in options["target_modules"] and "qkv" in options["target_modules"]:
        # "proj" alone would match the patch embedding, a convolution.
        options = {**options, "target_modules": r".*(attn\.qkv|attn\.proj|merger\.mlp\.0|lm_head)"}
    theirs = train_adapter(untied, tmp_path / "adapter", **options)
    base = Checkpoint.open(untied)
    merged = merge(base, Adapter.open(tmp_path / "adapter", base))
    expected = {canonical(name): tensor.numpy() for name, tensor in theirs.items()}
    updates = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    changed = 0
    for name in expected_shapes(base.spec):
        tensor = merged.tensor(name)
        ours = tensor.rows(0, tensor.shape[0])
        np.testing.assert_allclose(ours, expected[name], rtol=0, atol=2e-6)
        plain = base.tensor(name)
        changed += not np.array_equal(ours, plain.rows(0, plain.shape[0]))
    assert changed == sum("lora_A" in name for name in updates)


def test_pieces_of_a_merged_tensor_equal_the_whole(untied, tmp_path):
    train_adapter(untied, tmp_path / "adapter", target_modules=["q_proj"])
    base = Checkpoint.open(untied)
    tensor = merge(base, Adapter.open(tmp_path / "adapter", base)).tensor(
        "text.layers.0.self_attn.q_proj.weight"
    )
    np.testing.assert_allclose(tensor.rows(8, 24), tensor.rows(0, 64)[8:24], rtol=0, atol=1e-7)


class TestRefusals:
    @pytest.fixture(scope="class")
    @staticmethod
    def trained(untied, tmp_path_factory):
        root = tmp_path_factory.mktemp("adapter")
        train_adapter(untied, root, target_modules=["q_proj"])
        return root

    @pytest.fixture
    def adapter(self, trained, tmp_path):
        """A copy of an adapter, to damage."""
        import shutil

        return shutil.copytree(trained, tmp_path / "adapter")

    @pytest.fixture
    def refused(self, untied, adapter):
        def check(match):
            with pytest.raises(CheckpointError, match=match):
                Adapter.open(adapter, Checkpoint.open(untied))

        return check

    def configure(self, adapter, **changes):
        config = json.loads((adapter / "adapter_config.json").read_text())
        write_json(adapter / "adapter_config.json", {**config, **changes})

    def edit(self, adapter, change):
        path = adapter / "adapter_model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    def test_no_folder(self, untied, tmp_path):
        with pytest.raises(CheckpointError, match="no such adapter folder"):
            Adapter.open(tmp_path / "nowhere", Checkpoint.open(untied))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"peft_type": "LOHA"}, "type 'LOHA'"),
            ({"bias": "all"}, "trains biases"),
            ({"use_dora": True}, "use_dora"),
            ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
            ({"init_lora_weights": "pissa"}, "changes the base"),
            ({"r": 0}, "'r' must be"),
            ({"lora_alpha": "x"}, "'lora_alpha' must be"),
            ({"rank_pattern": {"(": 4}}, "regular expression that is not supported"),
            ({"r": 4}, "is the adapter for another model"),
        ],
    )
    def test_settings_that_cannot_be_merged(self, adapter, refused, change, message):
        self.configure(adapter, **change)
        refused(message)

    def test_pickled_weights(self, adapter, refused):
        (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
        refused("pickled, which are never loaded")

    def test_no_weights(self, adapter, refused):
        (adapter / "adapter_model.safetensors").unlink()
        refused("download the adapter again")

    def test_half_of_an_update(self, adapter, refused):
        self.edit(adapter, lambda t: t.pop(next(name for name in t if "lora_B" in name)))
        refused("only half of the update")

    def test_a_tensor_that_is_no_lora_weight(self, adapter, refused):
        self.edit(adapter, lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(2)}))
        refused("not a LoRA weight")

    def test_a_base_weight_that_differs(self, adapter, refused):
        name = "base_model.model.lm_head.base_layer.weight"
        self.edit(adapter, lambda t: t.update({name: torch.ones(384, 64)}))
        refused("not a LoRA weight")

    def test_a_module_that_the_model_has_not(self, adapter, refused):
        def rename(tensors):
            for name in list(tensors):
                if "layers.1." in name:
                    tensors[name.replace("layers.1.", "layers.9.")] = tensors.pop(name)

        self.edit(adapter, rename)
        refused("does not have")
