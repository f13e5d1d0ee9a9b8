"""Packs many independent questions behind one picture prefix.

A row is the system prompt, one picture (whole or low-res), then blocks. A block is one question
with its answer, or with its call, crops and answer. Each block attends only to the prefix and to
itself, so it is exactly the conversation that inference holds. Token ids and positions come from
``awares_edge.protocol`` and ``awares_edge.vision``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.protocol import (
    PromptBuilder,
    ProtocolProfile,
    SpecialTokens,
    TextTokenizer,
    get_profile,
)
from awares_edge.synth.canvas import COLOURS, SHAPES
from awares_edge.synth.text import Box
from awares_edge.vision import Grid, image_advance, image_positions, text_positions
from recipes.nano.boxes import call_text
from recipes.nano.tokenizer import build_tokenizer

# Loss weights inside a call: its first token decides whether to look, its crop ids or the numbers
# of its box where.
FIRST_WEIGHT, CROP_WEIGHT, BOX_WEIGHT, FIXED_WEIGHT = 2.0, 3.0, 1.0, 0.3
PARTNER_WEIGHT = 0.5

Where: TypeAlias = Sequence[str] | Box
"""What is called for: ids of the crop set, or a box in pixels of the first view."""


@dataclass(frozen=True)
class View:
    """A picture in a row: indices of its visual tokens in the batch's token table."""

    tokens: NDArray[np.int64]
    grid: Grid


@dataclass(frozen=True)
class Unit:
    """One scored span: its kind and the positions whose *next* tokens are scored."""

    kind: str
    start: int
    stop: int


@dataclass
class Row:
    """A packed row under construction; arrays are [length], positions [3, length]."""

    length: int
    ids: NDArray[np.int64] = field(init=False)
    visual: NDArray[np.int64] = field(init=False)
    positions: NDArray[np.int64] = field(init=False)
    block: NDArray[np.int64] = field(init=False)
    targets: NDArray[np.int64] = field(init=False)
    weights: NDArray[np.float32] = field(init=False)
    used: int = 0
    blocks: int = 0
    units: list[Unit] = field(default_factory=list)
    prefix_end: int = 0

    def __post_init__(self) -> None:
        n = self.length
        self.ids = np.zeros(n, np.int64)
        self.visual = np.full(n, -1, np.int64)
        self.positions = np.zeros((3, n), np.int64)
        self.block = np.full(n, -1, np.int64)
        self.targets = np.zeros(n, np.int64)
        self.weights = np.zeros(n, np.float32)


class _Writer:
    """Appends text and views to a row from a given M-RoPE position."""

    def __init__(self, row: Row, block: int, position: int) -> None:
        self.row, self.block, self.position = row, block, position

    def text(self, ids: Sequence[int]) -> int:
        """Append text tokens; returns the index of the first one."""
        at, n = self.row.used, len(ids)
        self.row.ids[at : at + n] = ids
        self.row.positions[:, at : at + n] = text_positions(self.position, n)
        self._close(n)
        self.position += n
        return at

    def view(self, view: View, pad: int) -> None:
        at, n = self.row.used, view.grid.tokens
        self.row.ids[at : at + n] = pad
        self.row.visual[at : at + n] = view.tokens
        self.row.positions[:, at : at + n] = image_positions(self.position, view.grid)
        self._close(n)
        self.position += image_advance(view.grid)

    def scored(self, kind: str, ids: Sequence[int], weights: Sequence[float]) -> None:
        """Append supervised tokens; each is predicted from the one before it."""
        at = self.text(ids)
        n = len(ids)
        self.row.targets[at - 1 : at - 1 + n] = ids
        self.row.weights[at - 1 : at - 1 + n] = weights
        self.row.units.append(Unit(kind, at - 1, at - 1 + n))

    def _close(self, n: int) -> None:
        self.row.block[self.row.used : self.row.used + n] = self.block
        self.row.used += n


class Packer:
    """Builds rows with a protocol profile; None means "nano".

    A block that does not fit in the rest of a row is left out. Callers offer more blocks than fit,
    so that rows are full.
    """

    def __init__(self, profile: ProtocolProfile | None = None) -> None:
        self.tokenizer = TextTokenizer(build_tokenizer())
        self.special: SpecialTokens = self.tokenizer.special_tokens()
        profile = profile or get_profile("nano")
        self.prompt = PromptBuilder(self.tokenizer, self.special, profile)
        self.profile = profile
        self._cache: dict[str, list[int]] = {}
        self._colours = {self.tokenizer.encode(" " + c)[0] for c in COLOURS}
        self._shapes = {self.tokenizer.encode(" " + x)[0] for x in SHAPES}

    def encode(self, text: str) -> list[int]:
        if text not in self._cache:
            if len(self._cache) > 50_000:
                self._cache.clear()
            self._cache[text] = self.tokenizer.encode(text)
        return self._cache[text]

    def ask(self, question: str) -> list[int]:
        key = "?" + question
        if key not in self._cache:
            self._cache[key] = list(self.prompt.ask(question))
        return self._cache[key]

    def begin(self, length: int, view: View) -> Row:
        row = Row(length)
        writer = _Writer(row, 0, 0)
        writer.text(self.prompt.system())
        writer.text(self.prompt.open_picture())
        writer.view(view, self.special.image_pad)
        row.prefix_end = writer.position
        return row

    def direct(
        self,
        row: Row,
        question: str,
        answer: str,
        kind: str,
        first: float = 1.0,
        partner: bool = False,
    ) -> None:
        """Add a question that is answered directly."""
        ask = self.ask(question)
        reply = [*self.encode(answer), self.special.im_end]
        if row.used + len(ask) + len(reply) > row.length:
            return
        row.blocks += 1
        writer = _Writer(row, row.blocks, row.prefix_end)
        self._question(writer, ask, partner)
        writer.scored(kind, reply, [first] + [1.0] * (len(reply) - 1))

    def _question(self, writer: _Writer, ask: Sequence[int], partner: bool) -> None:
        """Append a question; with ``partner``, also score a shape that follows its colour."""
        at = writer.text(ask)
        if not partner:
            return
        for i, (a, b) in enumerate(pairwise(ask)):
            if a in self._colours and b in self._shapes:
                writer.row.targets[at + i] = b
                writer.row.weights[at + i] = PARTNER_WEIGHT

    def describe(self, row: Row, question: str, items: Sequence[tuple[str, str]]) -> None:
        """Add a list of (name, text); each text is predicted right after its name.

        Here binding a text to a name takes one step of attention, where a question takes two, so
        it is learnt first. The order is arbitrary, so a name's first token has little weight.
        """
        ask = self.ask(question)
        parts = [(self.encode(" " + name), self.encode(text)) for name, text in items]
        if row.used + len(ask) + sum(len(a) + len(b) for a, b in parts) > row.length:
            return
        row.blocks += 1
        writer = _Writer(row, row.blocks, row.prefix_end)
        writer.text(ask)
        for name, text in parts:
            writer.scored("name", name[:1], [0.05])
            if name[1:]:
                writer.scored("partner", name[1:], [1.0] * len(name[1:]))
            if text:
                writer.scored("bind", text, [1.0] * len(text))

    def weighted_call(self, where: Where) -> tuple[list[int], list[float]]:
        """Token ids of a call, its end included, and their loss weights."""
        crops = [part for part in where if isinstance(part, str)]
        numbers = [part for part in where if isinstance(part, int)]
        text = self.profile.crop_call(crops) if crops else call_text(numbers)
        call = [*self.encode(text), self.special.im_end]
        if crops:
            ids = {self.encode(f" ['{c}")[-1] for c in crops}
            weights = [CROP_WEIGHT if t in ids else FIXED_WEIGHT for t in call]
            # Whether the list continues after an id is a decision too.
            for i, t in enumerate(call[:-1]):
                if t in ids:
                    weights[i + 1] = 1.0
        else:
            start, stop = (call.index(self.encode(bracket)[0]) for bracket in "[]")
            weights = [BOX_WEIGHT if start < i < stop else FIXED_WEIGHT for i in range(len(call))]
        weights[0] = FIRST_WEIGHT
        return call, weights

    def call(
        self,
        row: Row,
        question: str,
        where: Where,
        views: Sequence[View] = (),
        answer: str = "",
        kind: str = "",
        partner: bool = False,
        learn: bool = True,
    ) -> None:
        """Add a question that is answered by a call; with ``views``, add the second turn too.

        If ``learn`` is False the call is not scored.
        """
        ask = self.ask(question)
        call, weights = self.weighted_call(where)
        reply = [*self.encode(answer), self.special.im_end]
        need = len(ask) + len(call)
        pieces = [list(piece) for piece in self.prompt.reply([(224, 224)] * 2)]
        opening, between, closing = pieces[0][1:], pieces[1], pieces[2]
        if views:
            need += len(opening) + sum(v.grid.tokens for v in views)
            need += (len(views) - 1) * len(between) + len(closing) + len(reply)
        if row.used + need > row.length:
            return
        row.blocks += 1
        writer = _Writer(row, row.blocks, row.prefix_end)
        self._question(writer, ask, kind == "locate" or partner)
        if learn:
            writer.scored(kind if kind == "locate" else "call", call, weights)
        else:
            writer.text(call)
        if not views:
            return
        writer.text(opening)
        for i, view in enumerate(views):
            if i:
                writer.text(between)
            writer.view(view, self.special.image_pad)
        writer.text(closing)
        writer.scored(kind, reply, [1.0] * len(reply))
