"""GGUF files read back: every number where it belongs, every key that programs and people read."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
pytest.importorskip("torch", reason="torch makes the tiny checkpoints (extra torch)")
pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (extra gguf)")

import torch
from gguf import GGMLQuantizationType, GGUFReader, dequantize
from safetensors.torch import load_file

from awares_edge.bundle import Bundle
from awares_edge.errors import CheckpointError, ExportError
from awares_edge.export.gguf import GgufFormat, writer
from tests.support.checkpoints import CHAT_TEMPLATE, SHAPES, make_checkpoint
from tests.support.gguf import GGUF_SHAPES, export_gguf

CARD = "---\nlicense: apache-2.0\nbase_model: Qwen/Qwen2.5-VL-7B-Instruct\n---\n# Model\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    root = tmp_path_factory.mktemp("export") / "Tiny AwaRes"
    make_checkpoint(root, GGUF_SHAPES["tied"], seed=2)
    (root / "README.md").write_text(CARD)
    return root


def read(bundle):
    """(text, vision) readers."""
    paths = sorted(bundle.glob("*.gguf"), key=lambda path: path.name.startswith("mmproj"))
    return [GGUFReader(path) for path in paths]


def tensors(reader):
    return {
        t.name: dequantize(t.data, t.tensor_type).reshape(t.shape.tolist()[::-1])
        for t in reader.tensors
    }


def value(reader, key):
    return reader.get_field(key).contents()


def stored(checkpoint):
    found = {}
    for path in checkpoint.glob("*.safetensors"):
        found |= {name: t.float().numpy() for name, t in load_file(path).items()}
    return {
        n.replace("model.visual.", "visual.").replace("model.language_model.", "model."): t
        for n, t in found.items()
    }


def check_numbers(bundle, checkpoint, rtol):
    text, vision = map(tensors, read(bundle))
    source = stored(checkpoint)
    expected = {
        "token_embd.weight": source["model.embed_tokens.weight"],
        "output_norm.weight": source["model.norm.weight"],
        "blk.1.attn_q.weight": source["model.layers.1.self_attn.q_proj.weight"],
        "blk.1.attn_k.bias": source["model.layers.1.self_attn.k_proj.bias"],
        "blk.0.attn_output.weight": source["model.layers.0.self_attn.o_proj.weight"],
        "blk.0.ffn_down.weight": source["model.layers.0.mlp.down_proj.weight"],
        "blk.0.ffn_norm.weight": source["model.layers.0.post_attention_layernorm.weight"],
    }
    qkv = source["visual.blocks.1.attn.qkv.weight"]
    width = qkv.shape[1]
    patch = source["visual.patch_embed.proj.weight"]
    seen = {
        "v.blk.1.attn_q.weight": qkv[:width],
        "v.blk.1.attn_k.weight": qkv[width : 2 * width],
        "v.blk.1.attn_v.bias": source["visual.blocks.1.attn.qkv.bias"][2 * width :],
        "v.blk.0.ffn_up.weight": source["visual.blocks.0.mlp.up_proj.weight"],
        "v.post_ln.weight": source["visual.merger.ln_q.weight"],
        "mm.2.weight": source["visual.merger.mlp.2.weight"],
        "v.patch_embd.weight": patch[:, :, 0],
        "v.patch_embd.weight.1": patch[:, :, 1],
    }
    for ours, wanted in ((text, expected), (vision, seen)):
        for name, numbers in wanted.items():
            assert ours[name].shape == numbers.shape, name
            np.testing.assert_allclose(ours[name], numbers, rtol=rtol, atol=1e-6, err_msg=name)
    return text, vision


@pytest.mark.parametrize(("precision", "rtol"), [("f32", 0), ("f16", 8e-3), ("bf16", 8e-3)])
def test_numbers(checkpoint, tmp_path, precision, rtol):
    bundle = export_gguf(checkpoint, tmp_path / "b", precision)
    text, vision = check_numbers(bundle, checkpoint, rtol)
    shape = GGUF_SHAPES["tied"]
    assert len(text) == 2 + 12 * shape.layers  # tied: no output.weight
    assert len(vision) == 2 + 16 * shape.vision_depth + 5
    for reader in read(bundle):
        for tensor in reader.tensors:
            if len(tensor.shape) == 1:
                assert tensor.tensor_type == GGMLQuantizationType.F32, tensor.name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("precision", ["f32", "f16", "bf16"])
def test_half_checkpoints_in_several_shards(tmp_path, dtype, precision):
    checkpoint = make_checkpoint(
        tmp_path / "c", GGUF_SHAPES["untied"], seed=4, layout="v4", shards=3, dtype=dtype
    )
    lossless = precision == "f32" or (dtype == "bfloat16" and precision == "bf16")
    bundle = export_gguf(checkpoint, tmp_path / "b", precision)
    text, _ = check_numbers(bundle, checkpoint, 0 if lossless else 8e-3)
    assert "output.weight" in text


def test_an_adapter_is_merged_on_the_way(checkpoint, tmp_path):
    from safetensors.torch import save_file

    from awares_edge.export import export_checkpoint
    from awares_edge.protocol import PROFILES

    name = "model.language_model.layers.1.self_attn.q_proj"
    torch.manual_seed(0)
    down, up = torch.randn(4, 96), torch.randn(96, 4)
    adapter = tmp_path / "a"
    adapter.mkdir()
    keys = f"base_model.model.{name}.lora_"
    save_file(
        {f"{keys}A.weight": down, f"{keys}B.weight": up}, adapter / "adapter_model.safetensors"
    )
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    bundle = export_checkpoint(
        checkpoint,
        tmp_path / "b",
        format="gguf",
        precision="f32",
        adapter=adapter,
        profile=PROFILES["paper"],
    ).root
    base = stored(checkpoint)["model.layers.1.self_attn.q_proj.weight"]
    merged = base + 2.0 * (up @ down).numpy()
    ours = tensors(read(bundle)[0])["blk.1.attn_q.weight"]
    np.testing.assert_allclose(ours, merged, rtol=1e-5, atol=1e-5)


def test_names_and_keys(checkpoint, tmp_path):
    bundle = export_gguf(checkpoint, tmp_path / "b", "q4_k_m")
    names = sorted(path.name for path in bundle.iterdir())
    assert names == [
        "Tiny-AwaRes-Q4_K_M.gguf",
        "manifest.json",
        "mmproj-Tiny-AwaRes-F16.gguf",
        "tokenizer.json",
    ]
    text, vision = read(bundle)
    for reader in (text, vision):
        assert value(reader, "general.name") == "Tiny AwaRes"
        assert value(reader, "general.license") == "apache-2.0"
        assert value(reader, "general.base_model.0.name") == "Qwen2.5-VL-7B-Instruct"
        assert value(reader, "general.base_model.0.organization") == "Qwen"
    assert value(text, "general.architecture") == "qwen2vl"
    assert value(text, "general.file_type") == 15
    assert value(text, "tokenizer.chat_template") == CHAT_TEMPLATE
    assert value(text, "qwen2vl.rope.dimension_sections") == [4, 6, 6, 0]
    assert value(text, "tokenizer.ggml.pre") == "qwen2"
    assert value(text, "tokenizer.ggml.add_bos_token") is False
    assert value(vision, "general.type") == "mmproj"
    assert value(vision, "clip.projector_type") == "qwen2.5vl_merger"
    assert value(vision, "clip.vision.n_wa_pattern") == 2
    manifest = Bundle.open(bundle).manifest
    assert (manifest.runtime, manifest.precision) == ("llamacpp", "q4_k_m")


def test_a_tokenizer_that_cuts_text_otherwise_is_not_called_qwen2(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "c")
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\s+"
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    bundle = export_gguf(copy, tmp_path / "b", "f16")
    assert read(bundle)[0].get_field("tokenizer.ggml.pre") is None
    from awares_edge.runtimes.llamacpp import LlamaRuntime

    LlamaRuntime.load(Bundle.open(bundle), threads=1, context=64).close()


@pytest.mark.parametrize(
    "precision", [p for p in GgufFormat.precisions() if p not in ("f32", "f16", "bf16")]
)
def test_every_quantization_loads_and_computes(checkpoint, tmp_path, precision):
    from awares_edge.runtimes.base import TextSegment
    from awares_edge.runtimes.llamacpp import LlamaRuntime

    bundle = Bundle.open(export_gguf(checkpoint, tmp_path / "b", precision))
    kinds = {t.tensor_type for t in read(bundle.root)[0].tensors}
    assert kinds - {GGMLQuantizationType.F32}
    with (
        LlamaRuntime.load(bundle, threads=1, context=64) as runtime,
        runtime.open_session() as session,
    ):
        assert np.isfinite(session.prefill([TextSegment((4, 5, 6))])).all()


@pytest.mark.parametrize("precision", ["f16", "q4_0"])
def test_progress_goes_from_nothing_to_all(checkpoint, tmp_path, precision):
    from awares_edge.export import export_checkpoint
    from awares_edge.protocol import PROFILES

    seen = []
    export_checkpoint(
        checkpoint,
        tmp_path / "b",
        format="gguf",
        precision=precision,
        profile=PROFILES["paper"],
        progress=lambda what, done, total: seen.append((what, done / total)),
    )
    weights = [share for what, share in seen if what == seen[0][0]]
    assert weights == sorted(weights)
    assert len(weights) > 20
    assert weights[0] < 0.5 < weights[-2] <= weights[-1] == 1


class TestRefusals:
    @pytest.fixture
    def refused(self, tmp_path):
        """Export and expect one line, and nothing on the disk."""

        def check(checkpoint, message, error=ExportError, precision="f16", **options):
            target = tmp_path / "out" / "bundle"
            with pytest.raises(error, match=message) as caught:
                export_gguf(checkpoint, target, precision, **options)
            assert "\n" not in str(caught.value)
            assert not target.exists()
            assert list(target.parent.glob("*")) == []

        return check

    def test_full_attention_at_uneven_steps(self, tmp_path, refused):
        refused(make_checkpoint(tmp_path / "c", SHAPES["tied"]), "only at equal distances")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"window_size": 56}, "window_size fixed at 112"),
            ({"fullatt_block_indexes": [0, 3]}, "only at equal distances"),
        ],
    )
    def test_vision_that_llama_cpp_has_fixed(self, checkpoint, tmp_path, refused, changes, message):
        copy = shutil.copytree(checkpoint, tmp_path / "c")
        config = json.loads((copy / "config.json").read_text())
        config["vision_config"] |= changes
        (copy / "config.json").write_text(json.dumps(config))
        refused(copy, message)

    def test_an_epsilon_that_llama_cpp_would_drop(self, checkpoint, tmp_path, refused):
        """See `test_llama_cpp_computes_norms_with_an_epsilon_of_0`."""
        copy = shutil.copytree(checkpoint, tmp_path / "c")
        config = json.loads((copy / "config.json").read_text())
        config["text_config"]["rms_norm_eps"] = 1e-5
        (copy / "config.json").write_text(json.dumps(config))
        refused(copy, r"rms_norm_eps of 1e-05 \(at most 1e-06\): export it to ONNX")

    def test_vision_matrices_that_would_be_swapped(self, tmp_path, refused):
        from dataclasses import replace

        shape = replace(GGUF_SHAPES["tied"], vision_intermediate=64)
        refused(make_checkpoint(tmp_path / "c", shape), "cannot tell apart")

    def test_rows_that_do_not_make_whole_blocks(self, tmp_path, refused):
        from dataclasses import replace

        shape = replace(GGUF_SHAPES["untied"], intermediate=100)
        checkpoint = make_checkpoint(tmp_path / "c", shape)
        refused(checkpoint, "intermediate_size is 100: use f16", precision="q8_0")

    def test_numbers_that_f16_cannot_hold(self, checkpoint, tmp_path, refused):
        from safetensors.torch import save_file

        for dtype in (torch.float32, torch.bfloat16):
            copy = shutil.copytree(checkpoint, tmp_path / str(dtype))
            file = copy / "model.safetensors"
            found = {name: t.to(dtype) for name, t in load_file(file).items()}
            name = next(n for n in found if n.endswith("layers.0.mlp.up_proj.weight"))
            found[name][3, 4] = -1e5
            save_file(found, file, {"format": "pt"})
            refused(copy, "up_proj.weight has numbers that f16 cannot hold")

    def test_no_room_on_the_disk(self, checkpoint, refused, monkeypatch):
        full = type("usage", (), {"free": 1000})
        monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: full)
        refused(checkpoint, "GB are needed: make room")

    def test_the_disk_fills_up_half_way(self, checkpoint, refused, monkeypatch):
        import errno

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(writer, "pieces", fail)
        refused(checkpoint, "out of disk while writing")

    def test_a_tokenizer_of_another_model(self, checkpoint, tmp_path, refused):
        copy = shutil.copytree(checkpoint, tmp_path / "c")
        tokenizer = json.loads((copy / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"]["zebra"] = 9000
        (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
        refused(copy, "token", error=(ExportError, CheckpointError))

    def test_precisions(self, checkpoint, refused):
        refused(checkpoint, "no precision 'fp32' for gguf: choose f16, bf16, f32", precision="fp32")

    def test_calibration_files(self, checkpoint, tmp_path, refused):
        path = tmp_path / "m.safetensors"
        refused(checkpoint, "is not used at f16", calibration=path)
        refused(checkpoint, "no such calibration file", precision="q4_0", calibration=path)
        path.write_bytes(b"GGUF" + bytes(40))
        refused(checkpoint, "is not a file of", precision="q4_0", calibration=path)


def test_conversion_in_the_middle_of_a_tensor(checkpoint, tmp_path, monkeypatch):
    """Pieces far smaller than a tensor give the same file."""
    from awares_edge.export.gguf import convert

    whole = export_gguf(checkpoint, tmp_path / "a", "f16")
    monkeypatch.setattr(convert, "_PIECE_NUMBERS", 700)
    pieces = export_gguf(checkpoint, tmp_path / "b", "f16")
    for path in whole.glob("*.gguf"):
        assert path.read_bytes() == (pieces / path.name).read_bytes()
