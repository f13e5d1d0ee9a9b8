"""Files of saved pictures, damaged at random but with the right hash: used, or refused."""

import hashlib
import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import AskOptions
from awares_edge.serve import kv_file
from tests.fuzz.mutations import change_json, damage

KEY = {"image": "a", "model": "b"}


class SavedFiles:
    """A file of a picture in the embedded model's cache, with its header, its bytes or its numbers
    changed. Whatever is taken must be good for another question."""

    def __init__(self, folder):
        pixels = np.random.default_rng(0).integers(0, 256, (448, 448, 3), dtype=np.uint8)
        self.image = Image.fromarray(pixels)
        self.model = awares_edge.load(threads=1)
        with self.model.open(self.image) as picture:
            picture.ask("What?", AskOptions(crops=("0",), max_new_tokens=1))
            out = io.BytesIO()
            kv_file.write(out, KEY, picture.save())
        self.content = out.getvalue()[:-32]
        (length,) = struct.unpack("<I", self.content[8:12])
        self.header, self.data = self.content[12 : 12 + length], self.content[12 + length :]

    def case(self, random):
        kind = random.randrange(4)
        if kind == 0:
            content = damage(random, self.content)
        elif kind == 1:
            content = self.content[:12] + damage(random, self.header) + self.data
        elif kind == 2:
            text = change_json(random, json.loads(self.header)).encode("utf-8", "surrogatepass")
            content = self.content[:8] + struct.pack("<I", len(text)) + text + self.data
        else:
            at = random.randrange(0, len(self.data) - 4, 4)
            number = random.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45, 0.0])
            data = self.data[:at] + struct.pack("<f", number) + self.data[at + 4 :]
            content = self.content[: 12 + len(self.header)] + data
        return content + hashlib.sha256(content).digest()

    def check(self, case):
        saved = kv_file.read(case, KEY)
        with self.model.open(self.image) as picture:
            picture.restore(saved)
            picture.ask("What?", AskOptions(crops=("0",), max_new_tokens=2))
        return "accepted"


@pytest.mark.fuzz
def test_saved_pictures(check):
    check(SavedFiles, 3000)
