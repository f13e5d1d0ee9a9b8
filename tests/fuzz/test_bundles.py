"""Untrusted bundles: a forged manifest, array, tokenizer or graph gives one line at most."""

import json
import shutil
import struct
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import awares_edge
from awares_edge.api import embedded_bundle
from awares_edge.bundle import Manifest
from awares_edge.bundle.arrays import map_matrix
from awares_edge.bundle.graph_files import check_graph_file
from awares_edge.bundle.store import hash_file
from awares_edge.controller.model import Model
from awares_edge.errors import AwaresError
from awares_edge.protocol import PROFILES, TextTokenizer
from awares_edge.runtimes.llamacpp.header import read_header
from awares_edge.runtimes.null import NullRuntime
from awares_edge.spec import EMBEDDING_NAME, MANIFEST_NAME, TOKENIZER_NAME
from awares_edge.vision.geometry import Grid
from awares_edge.vision.windows import attention_windows, vision_rotary
from tests.fuzz.mutations import change_json, damage

pytestmark = pytest.mark.fuzz

NANO = embedded_bundle()
MANIFEST = json.loads((NANO / MANIFEST_NAME).read_text())
VERSION_1 = Path(__file__).parents[1] / "bundle" / "version1_nano.json"
SIZES = [(640, 480), (29, 28), (3, 500), (1, 1)]


def ask(model, size=(64, 48)):
    """One question, zoomed where the model wants to; "accepted" where it is answered."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    model.ask(image, "What?", awares_edge.AskOptions(max_new_tokens=8))
    return "accepted"


class Manifests:
    """Changed manifests; an accepted one is used for all that a manifest decides.

    Half of the changes are to the protocol profile: of every published protocol, and of version 1.
    """

    def __init__(self, folder):
        self.tokenizer = TextTokenizer.from_file(NANO / TOKENIZER_NAME)
        self.seeds = [{**MANIFEST, "protocol": asdict(p)} for p in PROFILES.values()]
        self.seeds.append(json.loads(VERSION_1.read_text()))

    def case(self, random):
        seed = random.choice(self.seeds)
        if random.random() < 0.5:
            profile = change_json(random, seed["protocol"])
            text = json.dumps({**seed, "protocol": "PROFILE"}).replace('"PROFILE"', profile)
        else:
            text = change_json(random, seed)
        return text, random.choice(SIZES)

    def check(self, case):
        text, size = case
        manifest = Manifest.from_json(text)
        assert Manifest.from_json(manifest.to_json()) == manifest
        vision = manifest.model.vision
        grid = Grid(6 * vision.merge_size, 4 * vision.merge_size, vision.merge_size)
        attention_windows(grid, window_size=vision.window_size, patch_size=vision.patch_size)
        vision_rotary(grid, head_dim=vision.hidden_size // vision.heads)
        call = manifest.protocol.call.examples()[0]
        runtime = NullRuntime([call, "42"], self.tokenizer)
        model = Model(
            runtime, self.tokenizer, manifest.tokens, manifest.protocol, manifest.preprocessing
        )
        try:
            return ask(model, size)
        except AwaresError as error:
            assert "\n" not in str(error)  # noqa: PT017
            return "accepted, question refused"


class Forged:
    """A copy of the nano bundle in which one file is forged and the manifest agrees with it."""

    def __init__(self, folder):
        self.root = folder / "bundle"
        shutil.copytree(NANO, self.root)

    def load(self, name=None, data=b"", manifest=None):
        """Load and ask once, with `data` in the place of a file or another manifest."""
        text = json.dumps(MANIFEST)
        if name is not None:
            (self.root / name).write_bytes(data)
            files = {**MANIFEST["files"], name: asdict(hash_file(self.root / name))}
            text = json.dumps({**MANIFEST, "files": files})
        (self.root / MANIFEST_NAME).write_text(manifest or text, "utf-8", "surrogateescape")
        try:
            with awares_edge.load(self.root, threads=1) as model:
                return ask(model)
        finally:
            if name is not None:
                shutil.copyfile(NANO / name, self.root / name)


class Bundles(Forged):
    """Changed manifests over the real files."""

    def case(self, random):
        return change_json(random, MANIFEST)

    def check(self, case):
        return self.load(manifest=case)


class Tokenizers(Forged):
    """Changed tokenizers: those that load encode and decode."""

    SEED = json.loads((NANO / TOKENIZER_NAME).read_text())

    def case(self, random):
        return change_json(random, self.SEED)

    def check(self, case):
        return self.load(TOKENIZER_NAME, case.encode("utf-8", "replace"))


EMBEDDING = (NANO / EMBEDDING_NAME).read_bytes()
HEADERS = (
    "{'descr': '|O', 'fortran_order': False, 'shape': (512, 192)}",
    "{'descr': '<f2', 'fortran_order': True, 'shape': (512, 192)}",
    f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({1 << 40}, {1 << 40})}}",
    "{'descr': [('a', '<f2')], 'fortran_order': False, 'shape': (512, 192)}",
    "{'descr': '<f2', 'fortran_order': False, 'shape': (512, -192)}",
    "(" * 900,
    "[" * 60_000,
    "__import__('os')",
    "{'descr': '<f2', 'fortran_order': False, 'shape': " + "(" * 200 + ")" * 200 + "}",
)


class Arrays:
    """Forged `.npy` files."""

    def __init__(self, folder):
        self.path = folder / EMBEDDING_NAME

    def case(self, random):
        if random.random() < 0.7:
            head, rest = EMBEDDING[:128], EMBEDDING[128:]
            return damage(random, head) + (rest if random.random() < 0.9 else b"")
        header = random.choice(HEADERS).encode()
        version, code = random.choice([(1, "<H"), (2, "<I"), (3, "<I"), (9, "<I")])
        size = struct.pack(code, random.choice([len(header), 0, 65535]))
        return b"\x93NUMPY" + bytes([version, 0]) + size + header + EMBEDDING[128:]

    def check(self, case):
        self.path.write_bytes(case)
        table = map_matrix(self.path, (512, 192))
        assert table.shape == (512, 192)
        return "accepted"


LISTED = {name: entry["bytes"] for name, entry in MANIFEST["files"].items()}
GRAPHS = ("text.onnx", "vision.onnx")
OTHER_FILES = (b"../../x.d", b"/etc/pass", b"other.dat", b"*/_ORT_ME")


class GraphFiles:
    """Damaged graphs, and graphs that name other files: none may be read that is not listed."""

    def __init__(self, folder):
        self.root = folder

    def case(self, random):
        data = (NANO / random.choice(GRAPHS)).read_bytes()
        if random.random() < 0.2:
            return data.replace(b"text.data", random.choice(OTHER_FILES))
        return damage(random, data)

    def check(self, case):
        (self.root / "text.onnx").write_bytes(case)
        check_graph_file(self.root, "text.onnx", {**LISTED, "text.onnx": len(case)})
        return "accepted"


class Graphs(Forged):
    """Damaged graphs as far as onnxruntime takes them."""

    def case(self, random):
        name = random.choice(GRAPHS)
        return name, damage(random, (NANO / name).read_bytes())

    def check(self, case):
        return self.load(*case)


def gguf():
    """A small GGUF file: keys of most kinds, one tensor."""

    def text(value):
        return struct.pack("<Q", len(value)) + value

    keys = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"clip"),
        text(b"general.alignment") + struct.pack("<II", 4, 32),
        text(b"clip.vision.block_count") + struct.pack("<II", 4, 2),
        text(b"scale") + struct.pack("<If", 6, 0.5),
        text(b"tokens") + struct.pack("<IIQ", 9, 8, 40) + 40 * text(b"token"),
        text(b"types") + struct.pack("<IIQ", 9, 5, 40) + bytes(160),
        text(b"split.count") + struct.pack("<IH", 2, 0),
    ]
    tensor = text(b"token_embd.weight") + struct.pack("<IQQIQ", 2, 8, 4, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + b"".join(keys) + tensor
    return head + bytes(-len(head) % 32 + 128)


class GgufHeaders:
    """Damaged GGUF files; llama.cpp itself is not asked, because it may abort the process."""

    def __init__(self, folder):
        self.path = folder / "text.gguf"
        self.path.write_bytes(gguf())
        assert read_header(self.path).shapes == {"token_embd.weight": (4, 8)}

    def case(self, random):
        return damage(random, gguf())

    def check(self, case):
        self.path.write_bytes(case)
        read_header(self.path)
        return "accepted"


@pytest.mark.parametrize(
    ("target", "cases"),
    [
        (Manifests, 20_000),
        (Bundles, 1_000),
        (Tokenizers, 500),
        (Arrays, 4_000),
        (GraphFiles, 4_000),
        (Graphs, 300),
        (GgufHeaders, 4_000),
    ],
)
def test_a_forged_bundle_is_one_line(check, target, cases):
    check(target, cases)
