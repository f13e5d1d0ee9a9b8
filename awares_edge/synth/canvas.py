"""A picture in the making: paper, shapes, bars and text, with everything drawn recorded."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from awares_edge.synth.sample import SIDE, Question, Sample, Size, Thing
from awares_edge.synth.text import FONTS, Box, Colour, Glyph, cap_height, draw_text, text_width

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 214),
    "yellow": (240, 205, 30),
    "purple": (140, 50, 170),
    "orange": (245, 135, 25),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
WORDS = (
    "SALES", "MENU", "PLAN", "CITY", "STOCK", "PARTS", "ORDER", "TRAIN", "MUSIC", "WATER",
    "RIVER", "TABLE", "PAPER", "STEEL", "GLASS", "LIGHT", "POWER", "SOUND", "RADIO", "CLOCK",
    "HOUSE", "GARDEN", "MARKET", "OFFICE", "SCHOOL", "BRIDGE", "FOREST", "ISLAND", "WINTER",
    "SUMMER", "SPRING", "AUTUMN", "BREAD", "FRUIT", "COFFEE", "SUGAR", "HONEY", "LEMON", "TRUCK",
    "BOATS", "PLANE", "METRO", "HOTEL", "BANK", "POST", "NEWS", "TEAM", "GOAL",
)  # fmt: skip
SMALL, LARGE = (10, 12), (24, 27)
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # I and O are too near 1 and 0


def union(*boxes: Box) -> Box:
    """Smallest box around all."""
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def overlap(a: Box, b: Box, gap: int = 0) -> bool:
    """Do two boxes come nearer than ``gap`` pixels?"""
    return not (
        a[2] + gap <= b[0] or b[2] + gap <= a[0] or a[3] + gap <= b[1] or b[3] + gap <= a[1]
    )


def article(word: str) -> str:
    """The indefinite article before ``word``."""
    return "an" if word[0] in "aeiou" else "a"


def code(rng: np.random.Generator) -> str:
    """A letter and two digits: 2,160 of them, none guessable."""
    return f"{LETTERS[int(rng.integers(len(LETTERS)))]}{int(rng.integers(10, 100))}"


@lru_cache(maxsize=512)
def _shape_mask(shape: str, size: int) -> NDArray[np.float32]:
    big = size * 4
    image = Image.new("L", (big, big), 0)
    draw = ImageDraw.Draw(image)
    s = float(big - 1)
    if shape == "circle":
        draw.ellipse((0, 0, s, s), fill=255)
    elif shape == "square":
        draw.rectangle((s * 0.06, s * 0.06, s * 0.94, s * 0.94), fill=255)
    elif shape == "triangle":
        draw.polygon([(s / 2, 0), (s, s * 0.95), (0, s * 0.95)], fill=255)
    elif shape == "diamond":
        draw.polygon([(s / 2, 0), (s * 0.92, s / 2), (s / 2, s), (s * 0.08, s / 2)], fill=255)
    elif shape == "cross":
        draw.rectangle((s * 0.34, 0, s * 0.66, s), fill=255)
        draw.rectangle((0, s * 0.34, s, s * 0.66), fill=255)
    else:
        angles = np.pi * (np.arange(10) / 5 - 0.5)
        radius = np.where(np.arange(10) % 2, 0.22, 0.52) * s
        points = np.stack([s / 2 + radius * np.cos(angles), s * 0.53 + radius * np.sin(angles)], 1)
        draw.polygon([(float(x), float(y)) for x, y in points], fill=255)
    small = image.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255.0


class Canvas:
    """One 224 x 224 picture; draws in place and keeps glyphs and things."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.font = FONTS[int(rng.integers(len(FONTS)))]
        paper = rng.integers(222, 256, 3)
        self.pixels: NDArray[np.uint8] = np.empty((SIDE, SIDE, 3), np.uint8)
        self.pixels[:] = paper
        if rng.random() < 0.3:
            fade = np.linspace(0, -float(rng.integers(5, 20)), SIDE)[:, None, None]
            self.pixels[:] = np.clip(self.pixels + fade, 0, 255).astype(np.uint8)
        self.ink: Colour = tuple(int(v) for v in rng.integers(0, 50, 3))  # type: ignore[assignment]
        self.glyphs: list[Glyph] = []
        self.things: list[Thing] = []

    def tint(self, name: str) -> Colour:
        """A named colour with a little variation."""
        varied = np.clip(np.array(COLOURS[name]) + self.rng.integers(-14, 15, 3), 0, 255)
        return int(varied[0]), int(varied[1]), int(varied[2])

    def size(self, small: bool) -> int:
        """A font size of the small or the large class."""
        lo, hi = SMALL if small else LARGE
        return int(self.rng.integers(lo, hi + 1))

    def width(self, text: str, size: int) -> int:
        return text_width(text, self.font, size)

    def text(self, x: int, baseline: int, text: str, size: int, ink: Colour | None = None) -> Box:
        """Draw text; returns its box."""
        box, glyphs = draw_text(
            self.pixels, x, baseline, text, font=self.font, size=size, colour=ink or self.ink
        )
        self.glyphs += glyphs
        return box

    def rect(self, box: Box, colour: Colour) -> None:
        x0, y0, x1, y1 = (max(0, v) for v in box)
        self.pixels[y0:y1, x0:x1] = colour

    def shape(self, colour: str, shape: str, x: int, y: int, size: int) -> Box:
        """Draw a shape with its top left at (x, y)."""
        alpha = _shape_mask(shape, size)[..., None]
        region = self.pixels[y : y + size, x : x + size]
        ink = np.asarray(self.tint(colour), np.float32)
        blended = region + alpha * (ink - region) + 0.5
        self.pixels[y : y + size, x : x + size] = blended.astype(np.uint8)
        self.things.append(Thing(colour, shape, x + size / 2, y + size / 2))
        return (x, y, x + size, y + size)

    def sample(self, family: str, questions: list[Question] | None = None) -> Sample:
        """The finished picture with all that was recorded."""
        return Sample(family, self.finish(), questions or [], self.glyphs, self.things)

    def finish(self) -> NDArray[np.uint8]:
        """Sensor noise over everything."""
        sigma = float(self.rng.random() * 4)
        if self.rng.random() < 0.6:
            noise = self.rng.standard_normal((SIDE, SIDE, 1), dtype=np.float32) * sigma
            self.pixels = np.clip(self.pixels + noise + 0.5, 0, 255).astype(np.uint8)
        return self.pixels


def title(canvas: Canvas, y: int, ink: Colour | None = None) -> Question:
    """Draw a title with its top at ``y``; it is placed left, right or in the middle."""
    rng = canvas.rng
    small = bool(rng.random() < 0.5)
    size = canvas.size(small)
    word = str(rng.choice(WORDS))
    width = canvas.width(word, size)
    places = (6, (SIDE - width) // 2, SIDE - 6 - width)
    x = places[int(rng.integers(3))]
    # The title's line is 30 px high for every type size, so that the layout does not reveal it.
    cap = cap_height(canvas.font, size)
    box = canvas.text(x, y + (24 + cap) // 2, word, size, ink)
    name: Size = "small" if small else "large"
    return Question("What is the title?", word, "title", (box,), name)
