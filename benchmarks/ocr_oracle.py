"""How often the OCR oracle finds the evidence of the synthetic suite, whose boxes are known.

    python benchmarks/ocr_oracle.py [--pictures 100] [--split test]

For each question about small text: is the answer found, do the crops that follow from it hold all
the evidence (the thing that carries the text included), and are they larger than needed?
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.protocol import crop_box  # noqa: E402
from awares_edge.synth.generate import SPLITS, generate  # noqa: E402
from awares_edge.synth.sample import SIDE  # noqa: E402
from awares_edge.training.crop_rules import BoxF, area, coverage, crops_for  # noqa: E402
from awares_edge.training.ocr import OcrOracle  # noqa: E402
from benchmarks.markdown import table  # noqa: E402

SIZE = (SIDE, SIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--split", choices=SPLITS, default="test")
    options = parser.parse_args()
    oracle = OcrOracle()
    outcomes: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    begun = time.process_time()
    for index in range(options.pictures):
        sample = generate(options.split, 0, index)
        image = Image.fromarray(sample.picture)
        for question in sample.questions:
            if question.size != "small":
                continue
            needed = [tuple(map(float, box)) for box in question.evidence]
            found = oracle.boxes(image, question.text, question.answer, ())
            for name in (sample.family, "all"):
                outcomes[name].append(_outcome(found, needed))
    seconds = (time.process_time() - begun) / options.pictures
    rows = [
        [name, len(seen), *(sum(o[i] for o in seen) / len(seen) for i in range(3))]
        for name, seen in sorted(outcomes.items(), key=lambda item: item[0] == "all")
    ]
    print(table("family | questions | found | crops hold the evidence | and are larger", rows))
    print(f"{seconds:.2f} s of CPU a picture")


def _outcome(found: list[BoxF], needed: list[BoxF]) -> tuple[bool, bool, bool]:
    """Found; its crops hold the evidence; and they are larger than the smallest that do."""
    if not found:
        return False, False, False
    crops, best = crops_for(found, SIZE), crops_for(needed, SIZE)
    boxes = [crop_box(crop, *SIZE, "halves") for crop in crops]
    holds = all(max(coverage(box, crop) for crop in boxes) >= 0.95 for box in needed)
    least = sum(area(crop_box(crop, *SIZE, "halves")) for crop in best)
    return True, holds, holds and sum(map(area, boxes)) > least


if __name__ == "__main__":
    main()
