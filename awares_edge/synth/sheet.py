"""A contact sheet of samples: `python -m awares_edge.synth.sheet OUT.png`."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from awares_edge.synth.generate import FAMILIES, HELD_BACK, Split, generate
from awares_edge.synth.sample import SIDE

_GAP = 6


def contact_sheet(split: Split = "validation", seed: int = 0, columns: int = 4) -> Image.Image:
    """One row of samples for each family, held-back ones last."""
    families = [*FAMILIES, *HELD_BACK]
    size = (columns * (SIDE + _GAP) + _GAP, len(families) * (SIDE + _GAP) + _GAP)
    sheet = Image.new("RGB", size, (90, 90, 90))
    for row, family in enumerate(families):
        for column in range(columns):
            sample = generate(split, seed, column, family=family)
            at = (_GAP + column * (SIDE + _GAP), _GAP + row * (SIDE + _GAP))
            sheet.paste(Image.fromarray(sample.picture), at)
    return sheet


if __name__ == "__main__":
    contact_sheet().save(Path(sys.argv[1]))
