"""Windows and rotary tables of the vision tower against transformers' own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.vision.geometry import Grid
from awares_edge.vision.windows import attention_windows, vision_rotary

torch = pytest.importorskip("torch")
utils = pytest.importorskip("transformers.vision_utils", reason="of transformers 5")

grids = st.builds(lambda r, c: Grid(2 * r, 2 * c), st.integers(1, 40), st.integers(1, 40))
window_sizes = st.sampled_from([56, 112, 140])


def reference(grid, window_size):
    """transformers' window index (of merged tokens) and window boundaries (in patches)."""
    thw = torch.tensor([[1, grid.height, grid.width]])
    index, ends = utils.get_vision_window_index(
        thw, spatial_merge_size=2, window_size=window_size, patch_size=14
    )
    return index.numpy(), ends.numpy()


@given(grids, window_sizes)
def test_order_and_lengths_equal_transformers(grid, window_size):
    windows = attention_windows(grid, window_size=window_size, patch_size=14)
    index, ends = reference(grid, window_size)
    np.testing.assert_array_equal(windows.token_order, index)
    np.testing.assert_array_equal(windows.lengths, np.diff(ends))


@given(grids, window_sizes)
def test_token_place_undoes_token_order(grid, window_size):
    windows = attention_windows(grid, window_size=window_size, patch_size=14)
    np.testing.assert_array_equal(windows.token_order[windows.token_place], np.arange(grid.tokens))


@given(grids, window_sizes)
def test_patches_keep_to_their_token(grid, window_size):
    windows = attention_windows(grid, window_size=window_size, patch_size=14)
    np.testing.assert_array_equal(windows.patch_order[::4] // 4, windows.token_order)
    assert sorted(windows.patch_order) == list(range(grid.patches))


@given(grids, window_sizes)
def test_padding_is_undone(grid, window_size):
    windows = attention_windows(grid, window_size=window_size, patch_size=14)
    np.testing.assert_array_equal(
        windows.padded.reshape(-1)[windows.unpadded], np.arange(grid.patches)
    )


@given(grids, window_sizes)
def test_a_window_holds_its_own_patches_first(grid, window_size):
    windows = attention_windows(grid, window_size=window_size, patch_size=14)
    _, ends = reference(grid, window_size)
    for row, start, stop in zip(windows.padded, ends[:-1], ends[1:], strict=True):
        np.testing.assert_array_equal(row[: stop - start], np.arange(start, stop))


@given(grids, st.sampled_from([16, 32, 64, 80]))
def test_rotary_tables_equal_transformers(grid, head_dim):
    thw = torch.tensor([[1, grid.height, grid.width]])
    positions = utils.get_vision_position_ids(thw, 2)
    exponents = torch.arange(0, head_dim // 2, 2, dtype=torch.float) / (head_dim // 2)
    angles = positions[..., None].float() * (1.0 / 10_000.0**exponents)
    angles = torch.cat([angles[:, 0], angles[:, 1]], dim=-1)
    cos, sin = vision_rotary(grid, head_dim=head_dim)
    np.testing.assert_allclose(cos, angles.cos().numpy(), rtol=0, atol=4e-7)
    np.testing.assert_allclose(sin, angles.sin().numpy(), rtol=0, atol=4e-7)
