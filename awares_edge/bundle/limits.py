"""What each field of a manifest admits.

The limits admit every Qwen2.5-VL (3B to 72B) with room to spare, and nothing that makes a device
allocate or compute without bound: a session's memory follows from them and the picture's size.
"""

from __future__ import annotations

import re

from awares_edge.protocol.limits import PROFILE_LIMITS
from awares_edge.schema import Items, Limits, Real, Text, Whole

MAX_FILES = 4096
MAX_GRAPHS = 16
MAX_VOCABULARY = 1 << 20
MAX_CACHE_NUMBERS = 1 << 20
"""Most numbers that the KV cache holds for one token (a 72B model: 163,840)."""
MAX_PATCHES = 1 << 17
"""Most patches of one picture (Qwen2.5-VL's own limit is 65,536)."""
MAX_WINDOW_SIDE = 64
"""Most patches along a side of an attention window (Qwen2.5-VL: 8)."""
MAX_HEAD_DIM = 1024

_WIDTH = Whole(1, 1 << 16)
_HEADS = Whole(1, 1024)
_DEPTH = Whole(1, 1024)
_TOKEN = Whole(0, MAX_VOCABULARY - 1)
_AREA = Whole(1, 1 << 24)
_WORD = Text(1, 32, re.compile(r"[a-z0-9_.+-]+"), "a short lower-case name")
_NAME = re.compile(r"(?!(?:.*/)?\.{1,2}(?:/|$))[\w+.-]+(?:/[\w+.-]+)*", re.ASCII)
_FILE = Text(1, 255, _NAME, "a file name inside the bundle")
_SHA256 = Text(64, 64, re.compile("[0-9a-f]+"), "64 hexadecimal digits")

LIMITS: Limits = {
    "runtime": _WORD,
    "precision": _WORD,
    "model.name": Text(0, 256),
    "model.license": Text(0, 256),
    "model.base_model": Text(0, 1024),
    "model.hidden_size": _WIDTH,
    "model.intermediate_size": Whole(1, 1 << 20),
    "model.layers": _DEPTH,
    "model.heads": _HEADS,
    "model.kv_heads": _HEADS,
    "model.head_dim": Whole(2, MAX_HEAD_DIM),
    "model.vocabulary": Whole(1, MAX_VOCABULARY),
    "model.rope_theta": Real(1, 1e12),
    "model.mrope_section[]": Whole(0, MAX_HEAD_DIM),
    "model.norm_eps": Real(1e-12, 0.1),
    "model.context": Whole(1, 1 << 24),
    "model.vision.hidden_size": _WIDTH,
    "model.vision.intermediate_size": Whole(1, 1 << 20),
    "model.vision.depth": _DEPTH,
    "model.vision.heads": _HEADS,
    "model.vision.window_size": Whole(1, 1 << 14),
    "model.vision.full_attention_blocks": Items(0, _DEPTH.high),
    "model.vision.full_attention_blocks[]": Whole(0, _DEPTH.high - 1),
    "model.vision.out_hidden_size": _WIDTH,
    "model.vision.patch_size": Whole(1, 256),
    "model.vision.temporal_patch_size": Whole(1, 4),
    "model.vision.merge_size": Whole(1, 16),
    "model.vision.in_channels": Whole(3, 3),
    **{f"protocol.{name}": limit for name, limit in PROFILE_LIMITS.items()},
    "preprocessing.patch_size": Whole(1, 256),
    "preprocessing.temporal_patch_size": Whole(1, 4),
    "preprocessing.merge_size": Whole(1, 16),
    "preprocessing.image_mean[]": Real(-10, 10),
    "preprocessing.image_std[]": Real(1e-3, 100),
    "tokens.im_start": _TOKEN,
    "tokens.im_end": _TOKEN,
    "tokens.vision_start": _TOKEN,
    "tokens.vision_end": _TOKEN,
    "tokens.image_pad": _TOKEN,
    "tokens.eos": Items(1, 64),
    "tokens.eos[]": _TOKEN,
    "files": Items(0, MAX_FILES),
    "files.keys": _FILE,
    "files[].bytes": Whole(0, 1 << 44),
    "files[].sha256": _SHA256,
    "calibration.protocol_sha256": _SHA256,
    "calibration.files_sha256": _SHA256,
    "calibration.decision_bias": Real(-1e4, 1e4),
    "calibration.decision_goal": Text(0, 256),
    "calibration.decision_questions": Whole(0, 1 << 32),
    "calibration.text_temperature": Real(0.01, 100),
    "calibration.closed_temperature": Real(0.01, 100),
    "calibration.confidence_questions": Whole(0, 1 << 32),
    "provenance": Items(0, 64),
    "provenance.keys": Text(1, 64),
    "provenance[]": Text(0, 4096),
}
