"""The TensorRT graphs against transformers, on a CPU.

onnxruntime runs the very graphs that TensorRT builds, under the runtime's own session code;
transformers computes every history from scratch, positions included. Tolerances are shares of the
logits' standard deviation.
"""

import numpy as np
import pytest
from PIL import Image

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.runtimes.base import ImageSegment, TextSegment
from awares_edge.vision import Preprocessing, extract_patches
from tests.support.checkpoints import SHAPES, make_checkpoint, write_tensors
from tests.support.tensorrt_cpu import cpu_runtime, write_bundle

torch = pytest.importorskip("torch")

TOLERANCE = {"fp32": 1e-5, "fp16": 3e-3}


def patches(width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    # Three ragged grids: 4 x 6, 10 x 14 (more than one window) and 6 x 4 patches.
    return extract_patches(
        Image.fromarray(pixels), Preprocessing(), min_pixels=3136, max_pixels=200_000
    )


class Reference:
    """transformers over a whole history at once: no cache, positions of its own."""

    def __init__(self, root):
        from transformers import Qwen2_5_VLForConditionalGeneration

        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            root, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.pad = self.model.config.image_token_id
        self.start = self.model.config.vision_start_token_id
        self.end = self.model.config.vision_end_token_id

    @torch.inference_mode()
    def logits(self, history, keep):
        ids, pixels, grids = [], [], []
        for item in history:
            if isinstance(item, list):
                ids += item
            else:
                ids += [self.pad] * item.grid.tokens
                pixels.append(torch.from_numpy(item.pixels))
                grids.append([1, item.grid.height, item.grid.width])
        tokens = torch.tensor([ids])
        out = self.model(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            pixel_values=torch.cat(pixels),
            image_grid_thw=torch.tensor(grids),
            mm_token_type_ids=(tokens == self.pad).int(),
            use_cache=False,
        )
        return out.logits[0, -keep:].float().numpy()


def segments(runtime, history):
    return [
        TextSegment(tuple(item))
        if isinstance(item, list)
        else ImageSegment(runtime.encode_image(item))
        for item in history
    ]


@pytest.fixture(scope="module", params=SHAPES)
def checkpoint(request, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp(request.param) / "model", request.param, seed=3)


@pytest.fixture(scope="module")
def reference(checkpoint):
    return Reference(checkpoint)


def share(ours, expected):
    return float(np.abs(ours - expected).max() / expected.std())


@pytest.mark.parametrize("precision", TOLERANCE)
def test_turns_of_a_conversation(checkpoint, reference, tmp_path, precision):
    tolerance = TOLERANCE[precision]
    bundle = write_bundle(tmp_path / "bundle", Checkpoint.open(checkpoint), precision)
    low, one, two = patches(56, 84, 1), patches(196, 140, 2), patches(84, 56, 3)
    start, end = [reference.start], [reference.end]
    prompt = [[5, 6, 7, *start], low, [*end, 9, 11, 40]]
    crops = [[12, *start], one, [*end, *start], two, [*end, 60, 61]]
    call = [30, 31, 32]

    with cpu_runtime(bundle) as runtime, runtime.open_session() as session:
        rows = session.prefill(segments(runtime, prompt), keep_logits=4)
        assert share(rows, reference.logits(prompt, 4)) <= tolerance, "prefill"

        rows = np.stack([session.decode(token) for token in call])
        assert share(rows, reference.logits([*prompt, call], 3)) <= tolerance, "decoded call"

        turn2 = session.mark()
        rows = session.prefill(segments(runtime, crops), keep_logits=3)
        whole = [*prompt, call, *crops]
        assert share(rows, reference.logits(whole, 3)) <= tolerance, "two crops appended"

        row = session.decode(70)
        assert share(row, reference.logits([*whole, [70]], 1)[0]) <= tolerance, "decode"

        session.rewind(turn2)
        row = session.decode(33)
        assert share(row, reference.logits([*prompt, [*call, 33]], 1)[0]) <= tolerance, "rewind"


def test_the_end_of_the_tower_may_exceed_float16(tmp_path):
    """As in the published models: sums of more than 65504 in the last block's down_proj."""
    from safetensors.torch import load_file

    root = make_checkpoint(tmp_path / "model", "untied", seed=3)
    tensors = load_file(root / "model.safetensors")
    for name in ("up", "down"):
        tensors[f"model.visual.blocks.2.mlp.{name}_proj.weight"] *= 2e3
    write_tensors(root, tensors)
    reference = Reference(root).model.model.visual
    item = patches(196, 140, 4)
    bundle = write_bundle(tmp_path / "bundle", Checkpoint.open(root), "fp16")
    with cpu_runtime(bundle) as runtime, torch.inference_mode():
        grid = torch.tensor([[1, item.grid.height, item.grid.width]])
        largest = []
        reference.blocks[2].mlp.register_forward_hook(
            lambda _module, _inputs, out: largest.append(float(out.abs().max()))
        )
        out = reference(torch.from_numpy(item.pixels), grid_thw=grid)
        expected = getattr(out, "pooler_output", out).numpy()
        assert largest[0] > 65_504
        assert share(runtime.encode_image(item).features, expected) <= 1e-2


def test_vision_features(checkpoint, reference, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", Checkpoint.open(checkpoint), "fp32")
    with cpu_runtime(bundle) as runtime, torch.inference_mode():
        for size in ((56, 84), (196, 140), (300, 252)):
            item = patches(*size, 4)
            out = reference.model.model.visual(
                torch.from_numpy(item.pixels),
                grid_thw=torch.tensor([[1, item.grid.height, item.grid.width]]),
            )
            expected = getattr(out, "pooler_output", out).numpy()
            assert share(runtime.encode_image(item).features, expected) <= 1e-5
