"""A simulated camera: a flat page in front of a pinhole camera, with what a webcam does to it.

Held and lit by hand: perspective, place and size in the frame, a cluttered background. By the
camera: exposure, uneven light, white balance, blur, noise, JPEG. Not simulated: lens distortion, a
bent page, reflections, motion, focus that differs over the page.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import cos, radians, sin
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Level = Literal["mild", "medium", "strong"]
LEVELS: tuple[Level, ...] = get_args(Level)
Range = tuple[float, float]

_OVERSAMPLED = 2  # the page is projected at twice the frame's size and averaged down
_SOFT = 4  # the background is drawn at this fraction of the frame's size
_FOCAL = 0.9  # focal length in frame widths: a horizontal field of view of 58 degrees


@dataclass(frozen=True)
class Conditions:
    """What is drawn for each frame, evenly between two bounds.

    Attributes:
        frame: width and height in pixels.
        fill: height of the subject, before it is tilted, as a share of the frame's height.
        tilt: pitch and yaw, each of either sign, in degrees.
        roll: rotation in the frame, of either sign, in degrees.
        shift: distance of the subject's middle from the frame's, across and down, each of either
            sign, as a share of the frame's size.
        stops: exposure in photographic stops; 0 shows white as white.
        uneven: loss of light at the darker end of the frame, as a share.
        cast: gain of the red and blue channels over or under green, as a share.
        blur: sigma of the lens in pixels of the frame.
        noise: sigma of the sensor, of 255.
        quality: of the JPEG.
    """

    frame: tuple[int, int]
    fill: Range
    tilt: Range
    roll: Range
    shift: Range
    stops: Range
    uneven: Range
    cast: Range
    blur: Range
    noise: Range
    quality: Range


CONDITIONS: dict[Level, Conditions] = {
    "mild": Conditions(
        frame=(640, 480),
        fill=(0.7, 0.85),
        tilt=(0, 8),
        roll=(0, 3),
        shift=(0, 0.03),
        stops=(-0.5, 0.2),
        uneven=(0, 0.1),
        cast=(0, 0.04),
        blur=(0.4, 0.7),
        noise=(2, 4),
        quality=(85, 95),
    ),
    "medium": Conditions(
        frame=(1280, 720),
        fill=(0.5, 0.75),
        tilt=(5, 20),
        roll=(0, 8),
        shift=(0, 0.08),
        stops=(-1.5, 0.3),
        uneven=(0.1, 0.25),
        cast=(0.03, 0.1),
        blur=(0.7, 1.3),
        noise=(4, 8),
        quality=(60, 80),
    ),
    "strong": Conditions(
        frame=(1280, 720),
        fill=(0.4, 0.65),
        tilt=(15, 35),
        roll=(5, 20),
        shift=(0.04, 0.15),
        stops=(-2.5, 0.5),
        uneven=(0.2, 0.45),
        cast=(0.08, 0.2),
        blur=(1.2, 2.2),
        noise=(8, 14),
        quality=(35, 60),
    ),
}


@dataclass(frozen=True)
class Capture:
    """A simulated frame.

    Attributes:
        frame: RGB [height, width, 3].
        matrix: the true homography [3, 3] from pixels of the page to pixels of the frame; both
            have (0, 0) at the outer corner of the first pixel.
    """

    frame: NDArray[np.uint8]
    matrix: NDArray[np.float64]


def capture(
    page: Image.Image,
    subject: tuple[float, float, float, float],
    level: Level,
    rng: np.random.Generator,
) -> Capture:
    """A frame that shows a page; the same generator state gives the same frame.

    Args:
        page: RGB, flat and evenly lit.
        subject: box in pixels of the page (left, top, right, bottom) that the camera is pointed at.
    """
    conditions = CONDITIONS[level]
    matrix = _pose(subject, conditions, rng)
    scene = _background(conditions.frame, rng)
    scene = _paste(scene, page, matrix)
    return Capture(_shoot(scene, conditions, rng), matrix)


def _between(bounds: Range, rng: np.random.Generator, *, signed: bool = False) -> float:
    value = float(rng.uniform(*bounds))
    return -value if signed and rng.random() < 0.5 else value


def _pose(
    subject: tuple[float, float, float, float], conditions: Conditions, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The homography of a page plane before a pinhole camera."""
    width, height = conditions.frame
    focal = _FOCAL * width
    pitch, yaw = (radians(_between(conditions.tilt, rng, signed=True)) for _ in "xy")
    roll = radians(_between(conditions.roll, rng, signed=True))
    about_x = np.array([[1, 0, 0], [0, cos(pitch), -sin(pitch)], [0, sin(pitch), cos(pitch)]])
    about_y = np.array([[cos(yaw), 0, sin(yaw)], [0, 1, 0], [-sin(yaw), 0, cos(yaw)]])
    about_z = np.array([[cos(roll), -sin(roll), 0], [sin(roll), cos(roll), 0], [0, 0, 1]])
    rotation = about_x @ about_y @ about_z
    left, top, right, bottom = subject
    centre = np.array([[1, 0, -(left + right) / 2], [0, 1, -(top + bottom) / 2], [0, 0, 1]])
    distance = focal * (bottom - top) / (_between(conditions.fill, rng) * height)
    across, down = (_between(conditions.shift, rng, signed=True) for _ in "xy")
    moved = np.array([across * width, down * height]) * distance / focal
    plane = np.column_stack([rotation[:, 0], rotation[:, 1], [moved[0], moved[1], distance]])
    lens = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    matrix = lens @ plane @ centre
    return np.asarray(matrix / matrix[2, 2], np.float64)


def _background(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A room out of focus: a colour gradient with boxes and discs of other colours."""
    width, height = size[0] // _SOFT, size[1] // _SOFT
    ends = rng.integers(40, 200, (2, 1, 1, 3))
    ramp = np.linspace(0, 1, height)[:, None, None]
    wall = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (height, width, 3))
    room = Image.fromarray(wall.astype(np.uint8))
    draw = ImageDraw.Draw(room)
    for _ in range(int(rng.integers(8, 20))):
        x, y = int(rng.integers(-15, width)), int(rng.integers(-15, height))
        w, h = (int(v) for v in rng.integers(8, height // 2, 2))
        colour = tuple(int(v) for v in rng.integers(10, 245, 3))
        shape = draw.rectangle if rng.random() < 0.6 else draw.ellipse
        shape((x, y, x + w, y + h), fill=colour)
    return room.resize(size, Image.Resampling.BICUBIC)


def _paste(scene: Image.Image, page: Image.Image, matrix: NDArray[np.float64]) -> Image.Image:
    """The scene with the projected page before it."""
    big = (scene.width * _OVERSAMPLED, scene.height * _OVERSAMPLED)
    enlarged = np.diag([_OVERSAMPLED, _OVERSAMPLED, 1.0]) @ matrix
    back = np.linalg.inv(enlarged)  # Pillow wants the way from the frame to the page
    data = tuple((back / back[2, 2]).ravel()[:8])
    drawn = page.transform(big, Image.Transform.PERSPECTIVE, data, Image.Resampling.BILINEAR)
    width, height = page.size
    corners = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1)]) @ enlarged.T
    mask = Image.new("L", big)
    outline = [(float(x / w), float(y / w)) for x, y, w in corners]
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    return Image.composite(drawn.reduce(_OVERSAMPLED), scene, mask.reduce(_OVERSAMPLED))


def _shoot(
    scene: Image.Image, conditions: Conditions, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """What the camera makes of the scene."""
    blurred = scene.filter(ImageFilter.GaussianBlur(_between(conditions.blur, rng)))
    light = (np.asarray(blurred, np.float32) / 255) ** 2.2
    light *= _illumination(scene.size, conditions, rng)
    signal = np.clip(light, 0, 1) ** (1 / 2.2) * 255
    sigma = _between(conditions.noise, rng)
    signal += rng.standard_normal(signal.shape, dtype=np.float32) * sigma
    frame = Image.fromarray(np.clip(signal + 0.5, 0, 255).astype(np.uint8))
    packed = io.BytesIO()
    frame.save(packed, "JPEG", quality=round(_between(conditions.quality, rng)))
    return np.array(Image.open(packed))


def _illumination(
    size: tuple[int, int], conditions: Conditions, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gain in linear light [height, width, 3]: exposure, fall-off in one direction, colour cast."""
    width, height = size
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    along = np.clip(cos(angle) * x + sin(angle) * y + 0.5, 0, 1)
    falloff = 1 - _between(conditions.uneven, rng) * along
    red, blue = (1 + _between(conditions.cast, rng, signed=True) for _ in "rb")
    gain = 2 ** _between(conditions.stops, rng)
    return np.asarray(falloff[..., None] * np.array([red, 1, blue]) * gain, np.float32)
