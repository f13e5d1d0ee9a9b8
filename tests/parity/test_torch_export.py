"""An independent witness: torch.onnx's own export of the vision tower, beside our graph.

Its tracing exporter, since the newer one cannot follow the tower's data-dependent windows.
"""

import numpy as np
import pytest
import torch

from awares_edge.vision.windows import attention_windows
from tests.support.pairs import make_pair, noise_patches

pytestmark = [
    pytest.mark.slow,
    # Tracing fixes the grid, which is what this test wants.
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning"),
]


class Tower(torch.nn.Module):
    """transformers' vision tower for one grid, which is fixed when it is exported."""

    def __init__(self, visual, grid):
        super().__init__()
        self.visual = visual
        self.grid = torch.tensor([[1, grid.height, grid.width]])

    def forward(self, pixels):
        return self.visual(pixels, grid_thw=self.grid).pooler_output


@pytest.mark.parametrize("shape", ["untied", "tied"])
def test_our_vision_graph_equals_torchs(tmp_path, shape):
    import onnxruntime

    pair = make_pair(tmp_path, shape)
    patches = noise_patches(168, 140, 1)
    assert len(attention_windows(patches.grid, window_size=112, patch_size=14).lengths) == 4
    tower = Tower(pair.reference.model.visual, patches.grid).eval()
    pixels = torch.from_numpy(patches.pixels)
    with torch.no_grad():
        torch.onnx.export(tower, (pixels,), str(tmp_path / "torch.onnx"), dynamo=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "torch.onnx"))
    (name,) = (node.name for node in session.get_inputs())
    theirs = session.run(None, {name: patches.pixels})[0]
    ours = pair.runtime.encode_image(patches).features
    assert np.abs(ours - theirs).max() <= 2e-5 * theirs.std()
