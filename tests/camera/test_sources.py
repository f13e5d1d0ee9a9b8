"""Sources: which one a text names, and what each gives."""

import numpy as np
import pytest
from PIL import Image

from awares_edge import CameraError, InputError, RuntimeUnavailable
from awares_edge.camera import Camera, open_source
from awares_edge.camera.frames import encode_jpeg
from awares_edge.camera.sources import find_sources
from awares_edge.camera.sources.folder import FolderSource
from awares_edge.camera.sources.gstreamer import csi_pipeline
from awares_edge.camera.sources.opencv import DeviceSource, Mode
from awares_edge.camera.sources.pushed import PushedSource
from awares_edge.camera.sources.synthetic import SyntheticSource
from awares_edge.errors import ImageError
from tests.camera.fakes import noise, wait_until


def read(source, count):
    """Frames of a source that was just opened."""
    source.open()
    try:
        return [(source.grab(), source.retrieve())[1] for _ in range(count)]
    finally:
        source.close()


# Which source a text names


@pytest.mark.parametrize(
    ("spec", "kind", "name"),
    [
        ("synthetic", "synthetic", "synthetic scene"),
        ("browser", "browser", "this browser's camera"),
        ("0", "device", "camera /dev/video0"),
        ("/dev/video2", "device", "camera /dev/video2"),
        ("/dev/v4l/by-id/usb-cam-index0,640x480", "device", "camera /dev/v4l/by-id/usb-cam-index0"),
        ("rtsp://10.0.0.7:554/stream", "rtsp", "rtsp://10.0.0.7:554/stream"),
        ("http://cam.local/mjpeg", "http", "http://cam.local/mjpeg"),
    ],
)
def test_a_text_names_a_source(spec, kind, name):
    pytest.importorskip("cv2")
    info = open_source(spec).info
    assert (info.kind, info.name) == (kind, name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:secret@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin:secret/with@signs@cam/live", "rtsp://cam/live"),
        ("http://cam/video?user=admin&password=secret", "http://cam/video"),
        ("rtsp://cam/live", "rtsp://cam/live"),
    ],
)
def test_a_password_is_not_shown(url, shown):
    pytest.importorskip("cv2")
    info = open_source(url).info
    assert info.spec == info.name == shown


@pytest.mark.parametrize(
    "spec", ["", "camera", "csi:x", "1000", "nowhere.mp4", "file:///etc/passwd"]
)
def test_a_text_that_names_none_is_refused_with_what_may_be_said(spec):
    with pytest.raises(InputError, match=r"no source .*: give one of synthetic; browser; 0 or"):
        open_source(spec)


def test_a_missing_package_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setattr("awares_edge.extras.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'awares-edge\[camera\]'"):
        open_source("0")


def test_cameras_are_found_by_their_first_node(tmp_path):
    (tmp_path / "dev").mkdir()
    for number, name, index in ((0, "C920", "0"), (1, "C920", "1"), (10, "Capture", "0")):
        (tmp_path / "dev" / f"video{number}").touch()
        about = tmp_path / "sys/class/video4linux" / f"video{number}"
        about.mkdir(parents=True)
        (about / "name").write_text(f"{name}\n")
        (about / "index").write_text(f"{index}\n")
    (tmp_path / "dev" / "video2").touch()  # a system that says nothing about it
    found = {source.spec: source.name for source in find_sources(tmp_path)}
    assert list(found) == ["synthetic", "browser", "/dev/video0", "/dev/video2", "/dev/video10"]
    assert found["/dev/video0"] == "C920 (/dev/video0)"
    assert found["/dev/video2"] == "/dev/video2"


def test_the_csi_pipeline_is_nvidias():
    assert csi_pipeline(1, 1920, 1080, 30) == (
        "nvarguscamerasrc sensor-id=1 "
        "! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=30/1 "
        "! nvvidconv ! video/x-raw,format=BGRx"
    )


# The drawn scene


def test_the_scene_moves_slowly_and_carries_noise():
    source = SyntheticSource()
    frames = [source.draw(t).astype(int) for t in (0.0, 0.05, 6.0)]
    assert frames[0].shape == (448, 448, 3)
    near, far = (np.abs(frames[0] - other).mean() for other in frames[1:])
    assert 0 < near < far


def test_the_scene_suggests_questions_about_what_it_shows():
    source = SyntheticSource(seconds=1.0)
    source.draw(0.0)
    first = source.suggestions
    source.draw(1.5)
    assert len(first) > 3
    assert source.suggestions != first


@pytest.mark.slow
def test_the_nano_model_answers_about_the_scene():
    import awares_edge
    from awares_edge.evaluation.answers import is_right
    from awares_edge.synth import generate

    source, right, asked = SyntheticSource(seconds=1.0), 0, 0
    with awares_edge.load(threads=1) as model:
        for scene in range(12):
            for moment in (0.1, 0.6):
                frame = source.draw(scene + moment)
                for question in generate("validation", 0, scene).questions:
                    answer = model.ask(frame, question.text)
                    right += is_right(answer.text, question.answer)
                    asked += 1
    assert right / asked > 0.95


# Cameras


class Capture:
    """What `cv2.VideoCapture` is, over frames of a test."""

    def __init__(self, frames, opens=True):
        self.frames, self.opens = list(frames), opens
        self.set_to = {}
        self.released = 0

    def isOpened(self):  # noqa: N802
        return self.opens

    def set(self, name, value):
        self.set_to[name] = value
        return True

    def grab(self):
        return bool(self.frames)

    def retrieve(self):
        frame = self.frames.pop(0)
        return frame is not None, frame

    def release(self):
        self.released += 1


NATIVE = Mode()


def device(*frames, mode=NATIVE, place="0", **more):
    cv2 = pytest.importorskip("cv2")
    captures, places = [], []

    def capture(where, backend):
        assert backend == cv2.CAP_V4L2
        places.append(where)
        captures.append(Capture(frames, **more))
        return captures[-1]

    return DeviceSource(place, mode, capture), captures, places


def test_a_cameras_blue_green_red_becomes_red_green_blue():
    blue = np.zeros((4, 6, 3), np.uint8)
    blue[..., 0] = 255
    source, _, places = device(blue)
    (frame,) = read(source, 1)
    assert frame.tolist() == [[[0, 0, 255]] * 6] * 4
    assert places == [0]


def test_a_grey_camera_is_shown_in_grey():
    source, _, _ = device(np.full((4, 6), 7, np.uint8), np.full((4, 6, 1), 8, np.uint8))
    frames = read(source, 2)
    assert [frame.shape for frame in frames] == [(4, 6, 3)] * 2
    assert [frame.max() for frame in frames] == [7, 8]


def test_raw_sensor_data_is_refused_by_the_camera():
    source, _, _ = device(np.zeros((4, 6), np.uint16))
    camera = Camera(source, retry=0.01)
    camera.connect()
    wait_until(lambda: "4 x 6 uint16" in camera.status().text)
    camera.disconnect()


def test_a_large_mode_is_asked_for_compressed_and_the_buffer_is_short():
    cv2 = pytest.importorskip("cv2")
    source, captures, _ = device(noise(), mode=Mode(1920, 1080, 30))
    read(source, 1)
    assert captures[0].set_to == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
        cv2.CAP_PROP_FRAME_WIDTH: 1920,
        cv2.CAP_PROP_FRAME_HEIGHT: 1080,
        cv2.CAP_PROP_FPS: 30,
        cv2.CAP_PROP_BUFFERSIZE: 1,
    }


def test_a_path_of_udev_is_opened_by_its_number(tmp_path):
    link = tmp_path / "usb-camera"
    link.symlink_to("/dev/video5")
    source, _, places = device(noise(), place=str(link))
    read(source, 1)
    assert places == [5]


def test_a_camera_that_cannot_be_opened_says_what_to_do():
    source, captures, _ = device(opens=False)
    with pytest.raises(CameraError, match=r"another program may use it, or .* use csi"):
        source.open()
    source.close()
    assert captures[0].released == 1


def test_a_camera_that_is_not_there_says_so():
    pytest.importorskip("cv2")
    with pytest.raises(CameraError, match="no camera at /dev/video63: plug it in"):
        DeviceSource("63").open()


def test_an_unplugged_camera_is_found_at_the_next_frame():
    source, _, _ = device(noise(), None)
    read(source, 1)
    source.open()
    source.grab()
    source.retrieve()
    source.grab()
    with pytest.raises(CameraError, match="cannot be decoded"):
        source.retrieve()
    with pytest.raises(CameraError, match="sends no frames any more"):
        source.grab()


# Files and folders


@pytest.fixture
def video(tmp_path):
    """Ten frames at 50 a second, each of its own grey."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


def test_a_video_begins_again_at_its_end(video):
    greys = [round(float(frame.mean()) / 20) for frame in read(open_source(str(video)), 13)]
    assert greys == [*range(10), 0, 1, 2]


def test_a_file_that_is_no_video_is_refused(tmp_path):
    pytest.importorskip("cv2")
    path = tmp_path / "notes.txt"
    path.write_text("no video")
    source = open_source(str(path))
    with pytest.raises(CameraError, match="not a video that can be read"):
        source.open()


def test_a_folder_is_shown_in_the_order_of_its_names_again_and_again(tmp_path):
    for number in (2, 0, 1):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"damaged")
    (tmp_path / "notes.txt").write_text("no picture")
    frames = read(FolderSource(tmp_path, seconds=0.0), 7)
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1, 2, 0, 1, 2, 0]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no pictures"):
        open_source(str(tmp_path))
    (tmp_path / "1.png").write_bytes(b"damaged")
    with pytest.raises(CameraError, match=r"no picture of .* can be read"):
        read(open_source(str(tmp_path)), 1)


# Frames that are handed in


def test_the_newest_pushed_frame_wins():
    source = PushedSource()
    source.open()
    for shade in (10, 200):
        source.push(encode_jpeg(np.full((16, 16, 3), shade, np.uint8)))
    source.grab()
    assert abs(int(source.retrieve().mean()) - 200) < 3


def test_a_browser_that_sends_nothing_is_reported():
    source = PushedSource()
    source.open()
    source.stop()
    with pytest.raises(CameraError, match="allow its camera on the page"):
        source.grab()


@pytest.mark.parametrize("jpeg", [b"", b"no picture", encode_jpeg(noise())[:200]])
def test_what_is_no_picture_is_refused(jpeg):
    with pytest.raises(ImageError):
        PushedSource().push(jpeg)


def test_a_pushed_frame_of_too_many_pixels_is_refused_before_it_is_decoded():
    large = Image.new("RGB", (4000, 3000))
    with pytest.raises(ImageError, match="pixels"):
        PushedSource().push(encode_jpeg(large))
