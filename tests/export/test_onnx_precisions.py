"""Quantized ONNX bundles: what is stored, what is kept, and that they compute the same model."""

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from awares_edge.bundle import Bundle
from awares_edge.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.errors import ExportError
from awares_edge.export import export_checkpoint
from awares_edge.export.onnx import OnnxFormat
from awares_edge.export.onnx.formats import BlockInt4, DynamicInt8
from awares_edge.export.onnx.precisions import PRECISIONS, Formats
from awares_edge.protocol.profiles import get_profile
from awares_edge.runtimes.base import ImageSegment, TextSegment
from awares_edge.runtimes.onnx import OnnxRuntime, graphs
from awares_edge.runtimes.torch_reference import TorchRuntime
from tests.export.test_onnx_export import FUSED, STANDARD, check_order, operators
from tests.support.checkpoints import make_checkpoint
from tests.support.pairs import noise_patches

QUANTIZED = ("int8", "int4", "int8+int4", "int4-fp16")
PRODUCTS = {("com.microsoft", "DynamicQuantizeMatMul"), ("com.microsoft", "MatMulNBits")}
PROMPT = TextSegment((3, 1, 4, 1, 5))


@pytest.fixture(scope="module", params=["untied", "tied"])
def checkpoint(request, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("source") / "model", request.param)


@pytest.fixture(scope="module")
def export(checkpoint, tmp_path_factory):
    """Exports of the checkpoint, one for each set of options."""
    made = {}

    def export(precision, **options):
        key = (precision, *options.items())
        if key not in made:
            made[key] = export_checkpoint(
                checkpoint,
                tmp_path_factory.mktemp("bundle") / "b",
                format=OnnxFormat(precision, **options),
                profile=get_profile("paper"),
            )
        return made[key]

    return export


def stored(bundle, graph="text"):
    """The tensors that lie in files, by name."""
    model = onnx.load(bundle.path(f"{graph}.onnx"))
    external = onnx.load(bundle.path(f"{graph}.onnx"), load_external_data=False)
    names = {tensor.name for tensor in external.graph.initializer if tensor.external_data}
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name in names
    }


def conversation(bundle):
    """Logits of a prompt with a picture, and of three tokens decoded after it."""
    with OnnxRuntime.load(bundle, threads=1) as runtime:
        return converse(runtime)


def converse(runtime):
    with runtime.open_session() as session:
        image = ImageSegment(runtime.encode_image(noise_patches(140, 196, 1)))
        first = session.prefill([PROMPT, image, PROMPT], keep_logits=3)
        return np.concatenate([first, *(session.decode(token)[None] for token in (7, 8, 9))])


@pytest.mark.parametrize("precision", QUANTIZED)
class TestGraphs:
    @pytest.mark.parametrize("name", ["vision.onnx", "text.onnx"])
    def test_other_tools_accept_them(self, export, precision, name):
        path = export(precision).path(name)
        onnx.checker.check_model(str(path), full_check=True)
        graph = onnx.load(path, load_external_data=False).graph
        used = check_order(graph, {"", *(value.name for value in graph.input)})
        assert {value.name for value in graph.initializer} <= used
        assert operators(graph) - STANDARD <= FUSED | PRODUCTS

    def test_they_compute_nearly_the_same(self, export, precision):
        """Bounds on random weights, which quantize worse than trained ones: they say that nothing
        is wired wrongly."""
        exact, ours = conversation(export("fp32")), conversation(export(precision))
        error = np.abs(ours - exact).max() / exact.std()
        assert 0 < error < {"int8": 0.2, "int4": 1.2, "int8+int4": 0.9, "int4-fp16": 1.2}[precision]

    def test_the_embedding_is_stored_in_fp16(self, export, precision):
        table = np.load(export(precision).path("embedding.npy"), mmap_mode="r")
        assert table.dtype == np.float16

    def test_the_same_checkpoint_gives_the_same_bytes(
        self, export, checkpoint, tmp_path, precision
    ):
        again = tmp_path / "again"
        export_checkpoint(checkpoint, again, precision=precision, profile=get_profile("paper"))
        assert Bundle.open(again).manifest == export(precision).manifest


class TestGraphsForGpus:
    @pytest.mark.parametrize("name", ["vision", "text"])
    def test_other_tools_accept_them(self, export, name):
        path = export("int4-fp16").path(f"{name}.fp16.onnx")
        onnx.checker.check_model(str(path), full_check=True)
        graph = onnx.load(path, load_external_data=False).graph
        used = check_order(graph, {"", *(value.name for value in graph.input)})
        assert {value.name for value in graph.initializer} <= used

    def test_4_bit_products_take_and_give_fp16(self, export, monkeypatch):
        """onnxruntime's CPU kernels compute the graphs for GPUs too, only slowly."""
        bundle = export("int4-fp16")
        wide = conversation(bundle)
        monkeypatch.setattr(graphs, "graph_file", lambda name, device: f"{name}.fp16.onnx")
        half = conversation(bundle)
        assert 0 < np.abs(half - wide).max() / wide.std() < 0.05

    def test_int8_layers_are_refused(self, export):
        with pytest.raises(ExportError, match="int8 layers compute only on CPUs"):
            export("int4-fp16", keep=("text.layers.0.*=int8",))


def test_progress_counts_a_matrix_of_two_forms_once(checkpoint, tmp_path):
    seen = []
    export_checkpoint(
        checkpoint,
        tmp_path / "b",
        precision="int8+int4",
        profile=get_profile("paper"),
        progress=lambda *step: seen.append(step),
    )
    done, total = zip(*(counts for what, *counts in seen if what == "writing weights"), strict=True)
    assert done == tuple(sorted(done))
    assert 0.9 * total[0] < done[-2] <= done[-1] == total[0]


def test_the_manifest_names_the_precision(export):
    # These need a calibration: test_onnx_budget.py, test_onnx_w8a8.py.
    names = [name for name in PRECISIONS if name not in ("mixed", "w8a8")]
    assert [export(name).manifest.precision for name in names] == names


def test_int4_stores_the_language_model_in_4_bits_and_the_tower_in_8(export):
    bundle = export("int4", block=32)
    assert all(":int4.32" in name for name in stored(bundle))
    floats = {name for name in stored(bundle, "vision") if ":int8" not in name}
    depth = bundle.manifest.model.vision.depth
    assert floats == {f"visual.blocks.{depth - 1}.mlp.down_proj.weight"}


def test_the_layer_with_huge_inputs_may_be_quantized_on_request(export):
    assert all(
        ":int8" in name for name in stored(export("int8", keep=("visual.*=int8",)), "vision")
    )


def test_int8_depends_on_the_tokens_of_a_call(export):
    """The input of an int8 product has one scale for all tokens of a call. The same calls give the
    same bits; another cut of the same prompt gives nearly the same."""
    with OnnxRuntime.load(export("int8"), threads=1) as runtime, runtime.open_session() as session:
        start = session.mark()
        once = session.prefill([TextSegment(tuple(range(20, 40)))])
        session.rewind(start)
        again = session.prefill([TextSegment(tuple(range(20, 40)))])
        session.rewind(start)
        session.prefill([TextSegment(tuple(range(20, 31)))])
        cut = session.prefill([TextSegment(tuple(range(31, 40)))])
    assert np.array_equal(once, again)
    assert 0 < np.abs(cut - once).max() < 0.15 * once.std()


class TestTwoForms:
    """int8+int4: one or two tokens take the 4-bit branch, more the int8 one."""

    def rows(self, bundle, *counts):
        with OnnxRuntime.load(bundle, threads=1) as runtime, runtime.open_session() as session:
            start = iter(range(20, 200))
            return [
                session.prefill([TextSegment(tuple(next(start) for _ in range(count)))])
                for count in counts
            ]

    def test_many_tokens_are_as_in_int8(self, export):
        ours, theirs = (self.rows(export(name), 5, 3, 40) for name in ("int8+int4", "int8"))
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))

    def test_few_tokens_are_as_in_int4(self, export):
        ours, theirs = (self.rows(export(name), 1, 2, 1) for name in ("int8+int4", "int4"))
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))

    def test_both_write_the_same_cache(self, export):
        """A token after an int8 prompt is nearer to fp32 than its distance from int4's says: the
        prompt's keys and values are there, whichever branch wrote them."""
        exact, both = (self.rows(export(name), 30, 1, 12) for name in ("fp32", "int8+int4"))
        for ours, theirs in zip(both, exact, strict=True):
            assert np.abs(ours - theirs).max() < 0.9 * theirs.std()
        moved = self.rows(export("int8+int4"), 29, 1, 12)
        assert not np.array_equal(moved[2], both[2])

    def test_weights_of_both_forms_are_stored_once(self, export):
        names = set(stored(export("int8+int4")))
        assert names == set(stored(export("int8"))) | set(stored(export("int4")))


class TestKeep:
    def test_layers_by_pattern(self, export):
        plain, kept = (
            set(stored(export("int8", **options)))
            for options in ({}, {"keep": ("text.layers.0.mlp.*=fp16",)})
        )
        mlp = {f"text.layers.0.mlp.{part}_proj.weight" for part in ("gate", "up", "down")}
        assert kept - plain == mlp

    def test_a_part_of_a_joined_layer_keeps_it_whole(self, export):
        names = set(stored(export("int8", keep=("*.1.self_attn.k_proj=fp32",))))
        joined = "+".join(f"text.layers.1.self_attn.{part}_proj.weight" for part in "qkv")
        assert {name for name in names if ":int8" not in name} - {EMBEDDING} == {joined}

    def test_everything_kept_is_the_float_model(self, export):
        assert np.array_equal(
            conversation(export("int8+int4", keep=("*=fp32",))), conversation(export("fp32"))
        )

    def test_the_first_pattern_wins(self, export):
        names = stored(export("int8", keep=("text.layers.0.*=fp16", "text.*=int4")))
        formats = {":int4" in name for name in names if name.startswith("text.layers.0.")}
        assert formats == {False}

    def test_a_tied_float_head_reads_the_embedding(self, tmp_path):
        checkpoint = make_checkpoint(tmp_path / "tied", "tied")
        for kept, dtype in (("fp16", np.float16), ("fp32", np.float32)):
            bundle = export_checkpoint(
                checkpoint,
                tmp_path / kept,
                format=OnnxFormat("int8", keep=(f"text.embed_tokens={kept}",)),
                profile=get_profile("paper"),
            )
            head = onnx.load(bundle.root / "text.onnx", load_external_data=False).graph.initializer
            (head,) = (t for t in head if t.name == "text.embed_tokens.weight")
            place = {entry.key: entry.value for entry in head.external_data}
            assert place["location"] == "embedding.npy"
            assert np.load(bundle.root / "embedding.npy", mmap_mode="r").dtype == dtype
            assert np.isfinite(conversation(bundle)).all()

    @pytest.mark.parametrize("item", ["text.layers.0.*", "=fp16", "text.*=int3", ""])
    def test_what_is_no_exception(self, export, item):
        with pytest.raises(ExportError, match="write PATTERN=FORMAT"):
            export("int8", keep=(item,))

    def test_a_pattern_that_matches_nothing(self, export):
        with pytest.raises(ExportError, match=r"no layer is named text\.layers\.99\.\*"):
            export("int8", keep=("text.layers.99.*=fp16",))


@pytest.mark.parametrize(
    ("inner", "expected"),
    [(256, BlockInt4(128)), (192, BlockInt4(64)), (96, BlockInt4(32)), (80, DynamicInt8())],
)
def test_rows_that_a_block_does_not_divide(inner, expected):
    formats = Formats("int4", block=128, depth=1)
    assert formats.text("text.layers.0.mlp.up_proj.weight", (8, inner)) == expected


@pytest.mark.parametrize("block", [0, 16, 48, 256])
def test_blocks_that_onnxruntime_has_no_kernels_for(export, block):
    with pytest.raises(ExportError, match="one of 32, 64, 128"):
        export("int4", block=block)


def test_seven_bit_weights_stay_within_64(export):
    for graph in ("text", "vision"):
        for name, array in stored(export("int8", seven_bit=True), graph).items():
            if array.dtype == np.int8:
                assert np.abs(array.astype(int)).max() == 64, name


@pytest.mark.parametrize("size", [(112, 112), (224, 112), (336, 224), (56, 84), (140, 112)])
def test_windows_with_and_without_padding(checkpoint, export, size):
    """Grids of whole windows take a branch of the vision graph that gathers nothing."""
    assert Checkpoint.open(checkpoint).spec.vision.window_size == 112
    patches = noise_patches(*size, 3)
    with OnnxRuntime.load(export("fp32"), threads=1) as runtime:
        ours = runtime.encode_image(patches).features
    theirs = TorchRuntime.load(checkpoint).encode_image(patches).features.numpy()
    assert np.abs(ours - theirs).max() <= 2e-5 * theirs.std()
