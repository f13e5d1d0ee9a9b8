"""The first question about a picture after a restart, with and without its saved KV.

    python benchmarks/saved_kv.py [--bundle DIR] [--size 896] [--rounds 5]

The question zooms to two quadrants; answers have 8 tokens at most. A "restart" is a new store of
pictures over the same loaded model, so that loading the model is not counted. Times are CPU time
(`time.process_time`) of the whole question: decoding the picture, finding and reading its file,
and the answer. Stores with and without a folder take turns.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import awares_edge
from awares_edge import AskOptions, Model
from awares_edge.serve.images import ImageData, make_sheet
from awares_edge.serve.saved import SavedPictures
from awares_edge.serve.store import PictureStore

OPTIONS = AskOptions(crops=("0", "3"), max_new_tokens=8)
WITHOUT, WRITING, SAVED, MEMORY = "not saved", "first, written after", "saved", "in memory"


def picture(size: int, seed: int) -> ImageData:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return ImageData((out.getvalue(),), str(seed))


def ask(store: PictureStore, data: ImageData) -> float:
    """CPU milliseconds of one question."""
    start = time.process_time()
    with store.borrow(data.digest, lambda: make_sheet(data, 10**8)) as kept:
        store.answered(kept, kept.picture.ask("What is it?", OPTIONS))
    return (time.process_time() - start) * 1e3


def restarted(model: Model, folder: Path | None) -> PictureStore:
    saved = None if folder is None else SavedPictures(model, folder, 1 << 32)
    return PictureStore(model, most=8, most_bytes=1 << 32, cell_bytes=1, saved=saved)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="default: the embedded model")
    parser.add_argument("--size", type=int, default=896, help="side of the picture in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in (WITHOUT, WRITING, SAVED, MEMORY)}
    with (
        awares_edge.load(options.bundle, threads=1) as model,
        tempfile.TemporaryDirectory() as root,
    ):
        ask(restarted(model, None), picture(options.size, 0))  # caches are warm from here on
        for turn in range(1, options.rounds + 1):
            data = picture(options.size, turn)
            store = restarted(model, None)
            found[WITHOUT].append(ask(store, data))
            found[MEMORY].append(ask(store, data))
            store.close()
            for name in (WRITING, SAVED):
                store = restarted(model, Path(root) / "kv")
                start = time.process_time()
                ask(store, data)
                store.close()  # which waits for the file
                found[name].append((time.process_time() - start) * 1e3)
        sizes = [file.stat().st_size for file in (Path(root) / "kv").iterdir()]
    for name, times in found.items():
        print(f"{name:>20}  {statistics.median(times):9.1f} ms CPU")
    print(f"{'file':>20}  {max(sizes) / 1e6:9.1f} MB")


if __name__ == "__main__":
    main()
