"""Frames of a camera, whatever they show: a sheet is read or refused, never anything else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from awares_edge.errors import InputError
from tests.fuzz.mutate import damage

pytestmark = pytest.mark.fuzz

CASES = 1_500


class Frames:
    """Captured sheets: damaged as JPEG, cut, squeezed, turned, covered, dimmed, doubled."""

    def __init__(self, folder):
        from awares_edge.camera.sheet import CapturedSheets
        from awares_edge.camera.sheet.pages import draw_pages

        (page,) = draw_pages(1)
        self.frames, self.files = [], []
        for level in ("mild", "medium", "strong"):
            frame = CapturedSheets(level, rectify=False).taken(0, page.picture).frame
            image = Image.fromarray(frame).resize((640, 480 if level == "mild" else 360))
            file = io.BytesIO()
            image.save(file, "JPEG", quality=80)
            self.frames.append(np.asarray(image))
            self.files.append(file.getvalue())

    def case(self, random):
        if random.random() < 0.3:
            return damage(random, random.choice(self.files), self.files)
        frame = random.choice(self.frames).copy()
        for _ in range(random.randint(0, 4)):
            frame = random.choice((cut, squeeze, turn, cover, dim, repeat))(frame, random)
        return frame

    def check(self, case):
        from awares_edge.camera.sheet import NoPage, page_in
        from awares_edge.vision import load_image

        frame = np.asarray(load_image(case)) if isinstance(case, bytes) else case
        page = page_in(np.ascontiguousarray(frame))
        if isinstance(page, NoPage):
            assert page.reason
            assert 0 <= page.found <= 4
            raise InputError(page.reason)
        assert page.picture.shape == (224, 224, 3)
        assert np.isfinite(page.matrix).all()
        height, width, _ = frame.shape
        assert (page.corners > -1).all()
        assert (page.corners < (width + 1, height + 1)).all()
        return "read"


def cut(frame, random):
    height, width, _ = frame.shape
    top, left = random.randrange(height), random.randrange(width)
    return frame[top : random.randint(top + 1, height), left : random.randint(left + 1, width)]


def squeeze(frame, random):
    size = (random.randint(1, 700), random.randint(1, 700))
    return np.asarray(Image.fromarray(frame).resize(size))


def turn(frame, random):
    return random.choice((np.rot90(frame), frame[:, ::-1], frame[::-1], frame[..., ::-1]))


def cover(frame, random):
    frame = frame.copy()
    height, width, _ = frame.shape
    y, x = random.randrange(height), random.randrange(width)
    frame[y : y + height // 4 + 1, x : x + width // 4 + 1] = random.randrange(256)
    return frame


def dim(frame, random):
    return (frame * random.random() + random.randrange(60)).clip(0, 255).astype(np.uint8)


def repeat(frame, random):
    whole = np.concatenate([frame, frame], axis=random.randrange(2))
    return np.asarray(Image.fromarray(whole).resize((640, 480)))


def test_frames(check):
    pytest.importorskip("cv2")
    check(Frames, CASES)
