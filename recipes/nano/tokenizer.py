"""A 512-token byte-level BPE in Qwen2's format, trained on the words of the synthetic questions.

The corpus has no codes or titles, so these stay single characters: the model must spell them.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from awares_edge.protocol import CROP_NAMES, get_profile
from awares_edge.protocol.tokenizer import QWEN2_PATTERN
from awares_edge.synth.canvas import COLOURS, SHAPES
from recipes.nano.config import SPECIAL_IDS, VOCAB

QUESTIONS = (
    "What is the label of the {c} {s}?",
    "What are the labels of the {c} {s} and the {c} {s}?",
    "What color is the {s}?",
    "What shape is the {c} object?",
    "How many objects are there?",
    "Is there a {c} {s}?",
    "Is there an {c} {s}?",
    "What is the title?",
    "What is the value of the {c} bar?",
    "What are the values from left to right?",
    "Which bar is the tallest?",
    "Which bar is the longest?",
    "Which bar is the shortest?",
    "How many bars are there?",
    "Is there a {c} bar?",
    "What color is the banner?",
    "How many fields are there?",
    "What is written in field A?",
    "Is there a total?",
    "What is the total?",
    "What is the reference?",
)


def corpus() -> list[str]:
    """All fixed text of the nano protocol and of the synthetic questions."""
    profile = get_profile("nano")
    lines = [profile.system, "system\n", "user\n", "assistant\n", "yes", "no"]
    lines += [profile.crop_call([i]) for i in CROP_NAMES] + [profile.crop_call(["0", "3"])] * 9
    lines += [*COLOURS, *SHAPES]
    for question in QUESTIONS:
        for c in COLOURS:
            lines += [question.format(c=c, s=s) for s in SHAPES]
    return lines * 4


def build_tokenizer() -> Tokenizer:
    """Train the tokenizer; special tokens have the last ids below ``VOCAB``."""
    room = VOCAB - len(SPECIAL_IDS)
    trained = Tokenizer(models.BPE())
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained.pre_tokenizer = split
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=room, initial_alphabet=sorted(alphabet), show_progress=False, min_frequency=2
    )
    trained.train_from_iterator(corpus(), trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    for i in range(len(vocabulary), room):
        vocabulary[f"<|unused_{i}|>"] = i
    merges = [(a, b) for a, b in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in SPECIAL_IDS]
    )
    for name, i in SPECIAL_IDS.items():
        if tokenizer.token_to_id(name) != i:
            raise ValueError(f"{name} has id {tokenizer.token_to_id(name)}, expected {i}")
    return tokenizer


def save_tokenizer(path: Path) -> None:
    """Write ``tokenizer.json``."""
    build_tokenizer().save(str(path))
