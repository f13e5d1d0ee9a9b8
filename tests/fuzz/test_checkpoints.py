"""Checkpoints and adapters from strangers: read completely, or refused in one line."""

import json
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest

from awares_edge.checkpoint import Adapter, Checkpoint, merge, read_eos, read_preprocessing
from awares_edge.checkpoint.names import expected_shapes
from awares_edge.checkpoint.safetensors_header import read_header
from awares_edge.errors import AwaresError
from awares_edge.export.measured import drift_layers, read_measured
from awares_edge.export.times import read_times
from tests.fuzz.mutate import damage

pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")

ABSURD = [
    *(None, True, False, 0, -1, 1, 2, 3, 7, 2**24, 2**31, 2**63, 10**400, -(10**400)),
    *(0.5, -0.0, 1e-300, 1e308, "", "x", "7", "nan", "\x1b[31m", "a" * 10_000),
    *([], [1], [1, 2], [-1], ["x"], [[1]], [2**70], {}, {"a": 1}, {"mrope_section": [1, 1, 1]}),
]


def mutate_json(random, value):
    """A copy with one value somewhere replaced, removed, or added."""
    value = json.loads(json.dumps(value))
    at = value
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return value
        key = random.choice(keys)
        if isinstance(at[key], (dict, list)) and at[key] and random.random() < 0.8:
            at = at[key]
            continue
        kind = random.random()
        if kind < 0.1:
            del at[key]
        elif kind < 0.2 and isinstance(at, dict):
            at[random.choice(["extra", key + "x", ""])] = random.choice(ABSURD)
        elif kind < 0.4 and type(at[key]) is int:
            at[key] += random.choice([-1, 1, 2, 4, -4, 64, 1 << 20])
        else:
            at[key] = random.choice(ABSURD)
        return value


def mutate_bytes(random, data):
    """A copy with some bytes flipped, cut, repeated or added."""
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 8])):
        kind, at = random.randrange(5), random.randrange(max(1, len(data)))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = random.randbytes(random.choice([1, 4, 8, 64]))
        elif kind == 3:
            del data[at : at + random.choice([1, 4, 8, 64])]
        else:
            data += data[at : at + 64] or b"\0"
    return bytes(data)


def split(file):
    """(header, data) of a safetensors file."""
    (length,) = struct.unpack("<Q", file[:8])
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def join(header, data, random):
    text = json.dumps(header).encode()
    if random.random() < 0.1:
        text = mutate_bytes(random, text)
    return struct.pack("<Q", len(text)) + text + data


def mutate_weights(random, file):
    """A safetensors file with a damaged header, or damaged bytes anywhere."""
    if random.random() < 0.4:
        return mutate_bytes(random, file[:4096]) + file[4096:]
    header, data = split(file)
    names = sorted(header)
    kind = random.randrange(4)
    if kind == 0:
        header = mutate_json(random, header)
    elif kind == 1:
        first, second = random.sample(names, 2)
        header[first], header[second] = header[second], header[first]
    elif kind == 2:
        name = random.choice([n for n in names if n != "__metadata__"])
        start, stop = header[name]["data_offsets"]
        step = random.choice([-4, 4, 64, stop - start])
        header[name]["data_offsets"] = [start + step, stop + step]
    else:
        at = random.randrange(0, len(data) - 4, 4)
        number = random.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45])
        data = data[:at] + struct.pack("<f", number) + data[at + 4 :]
    return join(header, data, random)


def same_as_official(path):
    """Whatever the official library refuses, our reader refuses."""
    try:
        ours = read_header(path)
    except AwaresError:
        return
    with safetensors.safe_open(path, "numpy") as official:
        assert set(official.keys()) == set(ours)


def read_all(weights, spec):
    for name, shape in expected_shapes(spec).items():
        tensor = weights.tensor(name)
        assert tensor.shape == shape
        assert np.isfinite(tensor.rows(0, shape[0])).all()


class Checkpoints:
    """A tiny checkpoint with one of its files damaged."""

    shape = "tied"
    files = ("config.json", "generation_config.json", "preprocessor_config.json")

    def __init__(self, folder):
        from tests.support.checkpoints import make_checkpoint

        make_checkpoint(folder / "seed", self.shape)
        self.root = shutil.copytree(folder / "seed", folder / "work")
        self.seeds = {p.name: p.read_bytes() for p in (folder / "seed").iterdir() if p.is_file()}

    def case(self, random):
        name = random.choice(["model.safetensors", "model.safetensors", *self.files])
        seed = self.seeds.get(name, b"{}")
        if name == "model.safetensors":
            return name, mutate_weights(random, seed)
        if random.random() < 0.2:
            return name, mutate_bytes(random, seed)
        return name, json.dumps(mutate_json(random, json.loads(seed))).encode()

    def check(self, case):
        name, content = case
        path = self.root / name
        path.write_bytes(content)
        try:
            if name == "model.safetensors":
                same_as_official(path)
            checkpoint = Checkpoint.open(self.root)
            read_all(checkpoint, checkpoint.spec)
            read_preprocessing(self.root)
            read_eos(self.root)
        finally:
            path.unlink()
            if name in self.seeds:
                path.write_bytes(self.seeds[name])
        return "accepted"


class Adapters:
    """A LoRA adapter of a tiny checkpoint with its settings or its weights damaged."""

    def __init__(self, folder):
        from safetensors.numpy import save_file

        from tests.support.checkpoints import make_checkpoint

        self.base = Checkpoint.open(make_checkpoint(folder / "base", "untied"))
        self.root = folder / "adapter"
        self.root.mkdir()
        rng = np.random.default_rng(0)
        tensors = {}
        for layer in (0, 1):
            at = f"base_model.model.model.language_model.layers.{layer}.self_attn.q_proj"
            for half, shape in (("A", (4, 64)), ("B", (64, 4))):
                numbers = rng.normal(size=shape).astype(np.float32)
                tensors[f"{at}.lora_{half}.weight"] = numbers
        save_file(tensors, self.root / "adapter_model.safetensors", metadata={"format": "pt"})
        self.weights = (self.root / "adapter_model.safetensors").read_bytes()
        self.config = {
            **{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none"},
            **{"use_rslora": False, "init_lora_weights": True, "rank_pattern": {"q_proj": 4}},
            "alpha_pattern": {r".*\.0\.self_attn\.q_proj": 16},
        }

    def case(self, random):
        config, weights = self.config, self.weights
        kind = random.random()
        if kind < 0.4:
            config = mutate_json(random, config)
        elif kind < 0.6:
            alphabet = ["q_proj", ".*", "(", ")", "+", "*", "\\.", "\\d", "a", "|", "^", "[0-9]"]
            pattern = "".join(random.choices(alphabet, k=random.choice([1, 3, 8, 200])))
            config = {**config, random.choice(["rank_pattern", "alpha_pattern"]): {pattern: 4}}
        else:
            weights = mutate_weights(random, weights)
        return config, weights

    def check(self, case):
        config, weights = case
        (self.root / "adapter_config.json").write_text(json.dumps(config))
        (self.root / "adapter_model.safetensors").write_bytes(weights)
        same_as_official(self.root / "adapter_model.safetensors")
        read_all(merge(self.base, Adapter.open(self.root, self.base)), self.base.spec)
        return "accepted"


class Measurements:
    """A calibration file with its header, its metadata or its numbers damaged."""

    def __init__(self, folder):
        from tests.support.checkpoints import make_checkpoint
        from tests.support.measured import flat_measured

        source = Checkpoint.open(make_checkpoint(folder / "base", "wide"))
        measured = flat_measured(source)
        drifts = {name: {"int8": 1e-3, "int4": 1e-2} for name in drift_layers(source.spec)}
        self.spec, self.path = source.spec, folder / "m.safetensors"
        replace(measured, drifts=drifts).save(self.path)
        self.seed = self.path.read_bytes()

    def case(self, random):
        if random.random() < 0.7:
            return mutate_weights(random, self.seed)
        header, data = split(self.seed)
        described = mutate_json(random, header["__metadata__"])
        return join({**header, "__metadata__": described}, data, random)

    def check(self, case):
        self.path.write_bytes(case)
        found = read_measured(self.path, self.spec)
        assert all(
            np.isfinite(part).all() and (part >= 0).all() and inputs.range > 0
            for inputs in found.inputs.values()
            for part in (inputs.largest, inputs.mean, inputs.square)
        )
        return "accepted"


class DeviceTimes:
    """A file of a device's times with its values, keys or bytes damaged."""

    def __init__(self, folder):
        from tests.support.checkpoints import make_checkpoint
        from tests.support.times import made_up_times

        self.spec = Checkpoint.open(make_checkpoint(folder / "base", "wide")).spec
        self.path = folder / "times.json"
        made_up_times(self.spec).save(self.path)
        self.seed = self.path.read_bytes()

    def case(self, random):
        if random.random() < 0.5:
            return damage(random, self.seed, [self.seed])
        return json.dumps(mutate_json(random, json.loads(self.seed))).encode(errors="replace")

    def check(self, case):
        self.path.write_bytes(case)
        found = read_times(self.path, self.spec)
        for kind in ("fp32", "fp16", "int8", "int4"):
            ms = found.estimate(dict.fromkeys(found.matrices, kind))
            assert np.isfinite(ms)
            assert ms >= found.rest_ms >= 0
        return "accepted"


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("target", "cases"),
    [(Checkpoints, 4000), (Adapters, 4000), (Measurements, 4000), (DeviceTimes, 4000)],
)
def test_untrusted_weights(check, target, cases):
    check(target, cases)
