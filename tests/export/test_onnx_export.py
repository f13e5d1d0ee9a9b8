"""`export_checkpoint` to ONNX: what comes out, and that it comes out whole or not at all."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from awares_edge import extras
from awares_edge.bundle import Bundle
from awares_edge.checkpoint import Checkpoint
from awares_edge.errors import CheckpointError, ExportError, RuntimeUnavailable
from awares_edge.export import FORMATS, export_checkpoint
from awares_edge.export.graph import weights as weights_module
from awares_edge.protocol.profiles import get_profile
from awares_edge.runtimes.base import TextSegment
from awares_edge.runtimes.onnx import OnnxRuntime
from awares_edge.spec import ModelSpec
from tests.support.checkpoints import SHAPES, Shape, make_checkpoint, write_json

PROFILE = get_profile("evaluator")
GRAPHS = ["vision.onnx", "text.onnx", "vision.fp16.onnx", "text.fp16.onnx"]
STANDARD = {("", schema.name) for schema in onnx.defs.get_all_schemas()}
FUSED = {
    ("com.microsoft", name)
    for name in (
        *("GroupQueryAttention", "MultiHeadAttention", "QuickGelu", "RotaryEmbedding"),
        "SkipSimplifiedLayerNormalization",
    )
}


@pytest.fixture(scope="module", params=["untied", "tied"])
def checkpoint(request, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("source") / "my-model", request.param)


def export(checkpoint, output, **options):
    return export_checkpoint(checkpoint, output, profile=PROFILE, **options).root


def logits(bundle):
    with OnnxRuntime.load(Bundle.open(bundle), threads=1) as runtime, runtime.open_session() as s:
        return s.prefill([TextSegment((3, 1, 4, 1, 5))], keep_logits=5)


def check_order(graph, outer):
    """Check that every value of a graph and its branches is made before it is used, once; the names
    of those that are used."""
    known = outer | {value.name for value in graph.initializer}
    used = set()
    for node in graph.node:
        assert set(node.input) <= known
        assert not set(node.output) & known - {""}
        used |= set(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                used |= check_order(attribute.g, known)
        known |= set(node.output)
    outputs = {value.name for value in graph.output}
    assert outputs <= known - outer
    return used | outputs


def operators(graph):
    """(domain, operator) of all nodes, those of branches included."""
    found = set()
    for node in graph.node:
        found.add((node.domain, node.op_type))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= operators(attribute.g)
    return found


class TestBundle:
    def test_the_manifest_says_what_is_inside(self, checkpoint, tmp_path):
        manifest = Bundle.open(export(checkpoint, tmp_path / "bundle")).manifest
        assert (manifest.runtime, manifest.precision) == ("onnx", "fp32")
        assert isinstance(manifest.model, ModelSpec)
        assert manifest.model == Checkpoint.open(checkpoint).spec
        assert manifest.protocol == PROFILE
        assert manifest.tokens.im_end in manifest.tokens.eos
        assert manifest.provenance["checkpoint"] == "my-model"
        assert set(manifest.files) == {
            *("embedding.npy", "text.data", "text.onnx", "tokenizer.json"),
            *("vision.data", "vision.onnx"),
        }

    def test_fp16_is_half_as_large_and_has_graphs_for_gpus(self, checkpoint, tmp_path):
        full = Bundle.open(export(checkpoint, tmp_path / "fp32")).manifest.files
        half = Bundle.open(export(checkpoint, tmp_path / "fp16", precision="fp16")).manifest.files
        for name in ("text.data", "vision.data"):
            # Matrices start on pages of 4096 bytes.
            assert abs(half[name].bytes - full[name].bytes / 2) < 4096 * 60
            assert half[name].bytes < full[name].bytes
        assert {"text.fp16.onnx", "vision.fp16.onnx"} == set(half) - set(full)

    def test_a_tied_head_is_stored_once(self, tmp_path):
        checkpoint = make_checkpoint(tmp_path / "tied", "tied")
        bundle = export(checkpoint, tmp_path / "bundle")
        model = onnx.load(bundle / "text.onnx", load_external_data=False)
        places = {
            tensor.name: {entry.key: entry.value for entry in tensor.external_data}
            for tensor in model.graph.initializer
            if tensor.external_data
        }
        place = places["text.embed_tokens.weight"]
        assert place["location"] == "embedding.npy"
        size = SHAPES["tied"].vocabulary * SHAPES["tied"].hidden * 4
        assert int(place["length"]) == size
        assert (bundle / "embedding.npy").stat().st_size == int(place["offset"]) + size

    @pytest.mark.parametrize("name", GRAPHS)
    def test_other_tools_accept_the_graphs(self, checkpoint, tmp_path, name):
        bundle = export(checkpoint, tmp_path / "bundle", precision="fp16")
        onnx.checker.check_model(str(bundle / name), full_check=True)
        model = onnx.load(bundle / name, load_external_data=False)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        assert operators(model.graph) - STANDARD <= FUSED

    @pytest.mark.parametrize("name", GRAPHS)
    def test_every_value_of_a_graph_is_made_before_it_is_used(self, checkpoint, tmp_path, name):
        """onnx's checker skips operators of other domains, onnxruntime's among them."""
        bundle = export(checkpoint, tmp_path / "bundle", precision="fp16")
        graph = onnx.load(bundle / name, load_external_data=False).graph
        used = check_order(graph, {"", *(value.name for value in graph.input)})
        assert {value.name for value in graph.initializer} <= used

    def test_the_same_checkpoint_gives_the_same_bytes(self, checkpoint, tmp_path):
        first = Bundle.open(export(checkpoint, tmp_path / "a")).manifest
        assert Bundle.open(export(checkpoint, tmp_path / "b")).manifest == first

    def test_layouts_and_shards_make_no_difference(self, tmp_path):
        plain = make_checkpoint(tmp_path / "v5" / "m", "tied")
        other = make_checkpoint(tmp_path / "v4" / "m", "tied", layout="v4", shards=3)
        ours = Bundle.open(export(other, tmp_path / "b")).manifest.files
        assert ours == Bundle.open(export(plain, tmp_path / "a")).manifest.files

    def test_progress_counts_every_number_once(self, checkpoint, tmp_path):
        seen = []
        export(checkpoint, tmp_path / "bundle", progress=lambda *step: seen.append(step))
        writing = [(done, total) for what, done, total in seen if what == "writing weights"]
        assert writing == sorted(writing)
        matrices = sum(p.stat().st_size for p in (tmp_path / "bundle").iterdir()) / 4
        assert writing[-1] == (writing[-1][1],) * 2
        assert writing[-1][1] == Checkpoint.open(checkpoint).parameters < matrices
        # Biases and norms are kept in the graph files.
        assert writing[-2][0] > 0.9 * writing[-1][1]

    def test_an_adapter_is_merged(self, tmp_path):
        peft = pytest.importorskip("peft")
        import torch
        from transformers import Qwen2_5_VLForConditionalGeneration

        checkpoint = make_checkpoint(tmp_path / "base", "untied")
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
        adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "up_proj"]))
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_" in name:
                    parameter.normal_(0, 0.2)
        adapted.save_pretrained(tmp_path / "adapter")
        with torch.inference_mode():
            expected = adapted(input_ids=torch.tensor([[3, 1, 4, 1, 5]])).logits[0].numpy()
        bundle = export(checkpoint, tmp_path / "merged", adapter=tmp_path / "adapter")
        ours = logits(bundle)
        assert np.abs(ours - expected).max() <= 2e-5 * expected.std()
        plain = logits(export(checkpoint, tmp_path / "plain"))
        assert np.abs(plain - expected).max() > 0.1 * expected.std()
        assert Bundle.open(bundle).manifest.provenance["adapter"] == "adapter"


class TestWholeOrNotAtAll:
    """Whatever ends an export leaves the folder as it was."""

    @pytest.fixture
    def place(self, tmp_path):
        (tmp_path / "out").mkdir()
        return tmp_path / "out"

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    def test_out_of_disk(self, checkpoint, place, monkeypatch, code):
        self.fail_in_the_middle(monkeypatch, OSError(code, "disk"))
        with pytest.raises(ExportError, match=r"no space left for .*: free some"):
            export(checkpoint, place / "bundle")
        assert list(place.iterdir()) == []

    def test_another_disk_error(self, checkpoint, place, monkeypatch):
        self.fail_in_the_middle(monkeypatch, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(ExportError, match=r"cannot write .*: Input/output error"):
            export(checkpoint, place / "bundle")
        assert list(place.iterdir()) == []

    def test_ctrl_c(self, checkpoint, place, monkeypatch):
        self.fail_in_the_middle(monkeypatch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            export(checkpoint, place / "bundle")
        assert list(place.iterdir()) == []

    def test_ctrl_c_in_the_progress_bar(self, checkpoint, place):
        def stop(what, done, total):
            if what == "writing weights" and done > total / 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            export(checkpoint, place / "bundle", progress=stop)
        assert list(place.iterdir()) == []

    def test_an_old_bundle_survives_a_failed_overwrite(self, checkpoint, place, monkeypatch):
        bundle = export(checkpoint, place / "bundle")
        before = Bundle.open(bundle).manifest
        self.fail_in_the_middle(monkeypatch, OSError(errno.ENOSPC, "disk"))
        with pytest.raises(ExportError):
            export(checkpoint, bundle, precision="fp16", overwrite=True)
        assert Bundle.open(bundle).manifest == before
        assert list(place.iterdir()) == [bundle]

    def test_overwriting(self, checkpoint, place):
        bundle = export(checkpoint, place / "bundle")
        with pytest.raises(ExportError, match="exists"):
            export(checkpoint, bundle)
        export(checkpoint, bundle, precision="fp16", overwrite=True)
        assert Bundle.open(bundle).manifest.precision == "fp16"
        assert list(place.iterdir()) == [bundle]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
    def test_a_full_disk_says_that_it_is_full(self):
        """What the faults above imitate: a real write that finds no space."""
        with (
            pytest.raises(OSError, match="No space left") as caught,
            Path("/dev/full").open("wb") as file,
        ):
            weights_module.write_array(file, np.zeros(1 << 20, np.float32))
        assert caught.value.errno == errno.ENOSPC

    def fail_in_the_middle(self, monkeypatch, error):
        """The third piece of weights meets an error."""
        pieces = weights_module.chunks
        count = 0

        def failing(tensor):
            nonlocal count
            for piece in pieces(tensor):
                count += 1
                if count == 3:
                    raise error
                yield piece

        monkeypatch.setattr(weights_module, "chunks", failing)


class TestRefusals:
    def refused(self, error, match, checkpoint, tmp_path, **options):
        with pytest.raises(error, match=match) as caught:
            export(checkpoint, tmp_path / "out" / "bundle", **options)
        assert "\n" not in str(caught.value)
        assert list((tmp_path / "out").glob("*")) == []

    def test_a_format_that_is_none(self, checkpoint, tmp_path):
        message = f"no export format 'coreml': choose {', '.join(FORMATS)}"
        self.refused(ExportError, message, checkpoint, tmp_path, format="coreml")

    def test_a_precision_that_is_none(self, checkpoint, tmp_path):
        self.refused(ExportError, "choose fp32, fp16", checkpoint, tmp_path, precision="fp8")

    def test_a_package_that_is_not_installed(self, checkpoint, tmp_path, monkeypatch):
        monkeypatch.setattr(extras, "find_spec", lambda _: None)
        self.refused(
            RuntimeUnavailable, r"pip install 'awares-edge\[export\]'", checkpoint, tmp_path
        )

    def test_a_head_dim_that_onnxruntime_cannot_rotate(self, tmp_path):
        shape = Shape(hidden=96, heads=4, mrope_section=(4, 4, 4))
        checkpoint = make_checkpoint(tmp_path / "odd", shape)
        self.refused(ExportError, "multiple of 16, this checkpoint has 24", checkpoint, tmp_path)

    def test_pixel_rules_that_differ_from_the_config(self, tmp_path):
        checkpoint = make_checkpoint(tmp_path / "m", "untied")
        write_json(checkpoint / "preprocessor_config.json", {"patch_size": 16})
        self.refused(CheckpointError, "differ in patch_size", checkpoint, tmp_path)

    def test_a_tokenizer_of_another_model(self, tmp_path):
        checkpoint = make_checkpoint(tmp_path / "m", "untied")
        larger = make_checkpoint(tmp_path / "larger", "tied")
        shutil.copy(larger / "tokenizer.json", checkpoint)
        self.refused(CheckpointError, "do not belong together", checkpoint, tmp_path)

    def test_a_checkpoint_of_another_architecture(self, tmp_path):
        checkpoint = make_checkpoint(tmp_path / "m", "untied")
        config = json.loads((checkpoint / "config.json").read_text())
        write_json(checkpoint / "config.json", {**config, "model_type": "qwen3_vl"})
        self.refused(CheckpointError, "give a Qwen2.5-VL checkpoint", checkpoint, tmp_path)

    def test_an_adapter_that_is_none(self, checkpoint, tmp_path):
        self.refused(
            CheckpointError, "no such adapter", checkpoint, tmp_path, adapter=tmp_path / "nowhere"
        )
