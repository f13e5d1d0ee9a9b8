"""What the graphs are given, and what each token may see."""

import numpy as np

from awares_edge.runtimes.tensorrt.inputs import attention_mask, text_inputs, vision_inputs
from awares_edge.vision.geometry import Grid
from tests.support.vision_spec import TINY_VISION


def test_a_token_sees_the_cells_in_use_and_the_new_tokens_up_to_itself():
    mask = attention_mask(2, 3, 6)[0, 0]
    assert mask.astype(int).tolist() == [[1, 1, 1, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0, 1, 1]]


def test_inputs_have_the_graphs_names_shapes_and_dtypes():
    embeds = np.zeros((5, 8), np.float32)
    positions = np.zeros((3, 5), np.int64)
    made = text_inputs(embeds, positions, start=7, keep=2, cache_length=16)
    assert {name: (array.shape, array.dtype.name) for name, array in made.items()} == {
        "inputs_embeds": ((1, 5, 8), "float32"),
        "position_ids": ((3, 1, 5), "int64"),
        "logits_index": ((2,), "int64"),
        "attention_mask": ((1, 1, 5, 21), "bool"),
    }
    assert made["logits_index"].tolist() == [3, 4]
    made = text_inputs(embeds, positions, start=7, keep=0, cache_length=16)
    assert made["logits_index"].tolist() == [4]


def test_padding_of_a_ragged_window_is_never_seen():
    # 5 x 6 tokens: one whole window of 4 x 4, and ragged ones at the edges.
    inputs = vision_inputs(Grid(10, 12), TINY_VISION)
    assert inputs["window_mask"].shape == (4, 1, 64, 64)
    seen = inputs["window_mask"][:, 0, 0].sum(axis=1)
    assert seen.tolist() == [64, 32, 16, 8]
    assert seen.sum() == 120
