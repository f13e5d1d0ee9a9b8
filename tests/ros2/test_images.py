"""Picture messages as RGB arrays, against OpenCV and against hostile fields."""

import array
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

import awares_edge
from awares_edge.errors import ImageError
from awares_ros.images import ENCODINGS, compressed_bytes, to_rgb
from tests.ros2.fake_rclpy.messages import transmitted

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
MOST = 1_000_000


def message(data, encoding, *, height=5, width=6, padding=0, is_bigendian=0):
    """An Image of rows of bytes, with `padding` bytes of 255 behind each row."""
    rows = data.reshape(height, -1)
    rows = np.hstack([rows, np.full((height, padding), 255, np.uint8)])
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=rows.shape[1],
        data=rows.tobytes(),
    )


ALPHA = RNG.integers(0, 256, (5, 6, 1), dtype=np.uint8)
EIGHT_BITS = {
    "rgb8": RGB,
    "bgr8": RGB[..., ::-1],
    "rgba8": np.concatenate([RGB, ALPHA], axis=2),
    "bgra8": np.concatenate([RGB[..., ::-1], ALPHA], axis=2),
}


@pytest.mark.parametrize("padding", [0, 1, 7])
@pytest.mark.parametrize("encoding", EIGHT_BITS)
def test_orders_of_eight_bit_samples(encoding, padding):
    sent = message(np.ascontiguousarray(EIGHT_BITS[encoding]), encoding, padding=padding)
    assert np.array_equal(to_rgb(transmitted(sent), MOST), RGB)


@pytest.mark.parametrize("padding", [0, 3])
def test_grey(padding):
    grey = np.ascontiguousarray(RGB[..., 0])
    rgb = to_rgb(message(grey, "mono8", padding=padding), MOST)
    assert np.array_equal(rgb, np.dstack([grey] * 3))


@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16", "mono16"])
def test_of_sixteen_bits_the_upper_byte_is_taken(encoding, is_bigendian):
    upper = EIGHT_BITS.get(encoding.replace("16", "8"), RGB[..., :1])
    samples = upper.astype(np.uint16) << 8 | RNG.integers(0, 256, upper.shape, dtype=np.uint16)
    data = samples.astype(">u2" if is_bigendian else "<u2").view(np.uint8)
    rgb = to_rgb(message(data, encoding, padding=2, is_bigendian=is_bigendian), MOST)
    expected = np.repeat(upper, 3, axis=2) if encoding == "mono16" else RGB
    assert np.array_equal(rgb, expected)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("uyvy", "COLOR_YUV2RGB_UYVY"),
        ("yuv422", "COLOR_YUV2RGB_UYVY"),
        ("yuyv", "COLOR_YUV2RGB_YUY2"),
        ("yuv422_yuy2", "COLOR_YUV2RGB_YUY2"),
    ],
)
def test_yuv_is_read_as_opencv_reads_it(encoding, code, padding):
    cv2 = pytest.importorskip("cv2", reason="pip install 'awares-edge[camera]'")
    yuv = RNG.integers(0, 256, (64, 256, 2), dtype=np.uint8)
    expected = cv2.cvtColor(yuv, getattr(cv2, code))
    sent = message(yuv, encoding, height=64, width=256, padding=padding)
    difference = np.abs(to_rgb(sent, MOST).astype(int) - expected.astype(int))
    assert difference.max() <= 1  # OpenCV computes in fixed point


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.frombuffer, array.array])
def test_data_may_be_any_buffer(kind):
    sent = message(RGB, "rgb8")
    raw = bytes(sent.data)
    data = {np.frombuffer: lambda: np.frombuffer(raw, np.uint8)}.get(kind)
    data = data() if data else array.array("B", raw) if kind is array.array else kind(raw)
    fields = type("Fields", (), {})()
    for name in ("height", "width", "encoding", "is_bigendian", "step"):
        setattr(fields, name, getattr(sent, name))
    fields.data = data
    rgb = to_rgb(fields, MOST)
    assert np.array_equal(rgb, RGB)
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable  # a copy: the sender may use its buffer again


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"encoding": "32FC1"}, "encoding '32FC1' cannot be read.*rgb8.*Bayer: image_proc"),
        ({"encoding": "x" * 1000}, "encoding 'x{40}' cannot"),
        ({"height": 0}, "6 x 0 pixels has no area"),
        ({"width": 0}, "0 x 5 pixels has no area"),
        ({"width": 100_000, "height": 100_000}, "is over 1000000 pixels"),
        ({"step": 17}, "a step of 17 bytes is too short for 6 pixels"),
        ({"step": 19}, "90 bytes are too few for 5 rows of 19"),
        ({"data": b""}, "0 bytes are too few"),
        ({"encoding": "yuyv", "width": 5}, "yuyv must have an even width"),
    ],
)
def test_fields_that_do_not_agree_are_refused(fields, error):
    sent = message(RGB, "rgb8")
    for name, value in fields.items():
        setattr(sent, name, value)
    with pytest.raises(ImageError, match=error):
        to_rgb(sent, MOST)


U32 = st.integers(0, 2**32 - 1) | st.integers(0, 64)


@given(
    height=U32,
    width=U32,
    step=U32,
    encoding=st.sampled_from(ENCODINGS) | st.text(max_size=12),
    is_bigendian=st.integers(0, 255),
    data=st.binary(max_size=4096),
)
def test_no_message_does_anything_but_a_picture_or_an_error(height, width, step, encoding, **more):
    sent = Image(height=height, width=width, step=step, encoding=encoding, **more)
    try:
        rgb = to_rgb(sent, 4096)
    except ImageError:
        return
    assert (rgb.shape, rgb.dtype) == ((height, width, 3), np.uint8)


@given(cut=st.integers(0, 200))
def test_a_truncated_message_is_no_message(cut):
    """What the transport would refuse stays refused, and what it lets through is checked."""
    raw = message(RGB, "rgb8").serialized()
    assert struct.unpack_from("<I", raw, len(raw) - RGB.size - 4) == (RGB.size,)
    shorter = message(RGB, "rgb8")
    shorter.data = bytes(shorter.data)[: max(0, 90 - cut)]
    if cut:
        with pytest.raises(ImageError, match="truncated"):
            to_rgb(shorter, MOST)
    else:
        assert np.array_equal(to_rgb(shorter, MOST), RGB)


class TestCompressed:
    def test_the_file_is_handed_on(self):
        assert compressed_bytes(CompressedImage(format="jpeg", data=b"\xff\xd8")) == b"\xff\xd8"

    def test_depth_is_refused(self):
        with pytest.raises(ImageError, match="depth"):
            compressed_bytes(CompressedImage(format="16UC1; compressedDepth png", data=b"1"))

    def test_what_is_no_picture_is_refused_by_the_model(self):
        data = compressed_bytes(CompressedImage(format="jpeg", data=b"not a picture"))
        with awares_edge.scripted() as model, pytest.raises(ImageError):
            model.open(data)
