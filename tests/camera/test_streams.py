"""Real GStreamer pipelines, and a real RTSP server on this machine."""

import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from awares_edge import CameraError, InputError, RuntimeUnavailable
from awares_edge.camera import Camera, open_source
from awares_edge.camera.sources.gstreamer import LAUNCH
from tests.camera.fakes import wait_until

SERVER = Path(__file__).parent / "rtsp_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"

gstreamer = pytest.mark.skipif(
    shutil.which(LAUNCH) is None, reason=f"no {LAUNCH}: apt install gstreamer1.0-tools"
)
LIVE = "videotestsrc is-live=true pattern={} ! video/x-raw,width={},height={},framerate=30/1"


@pytest.fixture(autouse=True)
def opencv():
    pytest.importorskip("cv2")


@contextmanager
def connected(spec, **options):
    camera = Camera(open_source(spec), **{"retry": 0.05, "may_be_still": True, **options})
    camera.connect()
    try:
        yield camera
    finally:
        camera.disconnect()


@gstreamer
@pytest.mark.parametrize(
    ("pattern", "colour"), [("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))]
)
def test_a_pipeline_gives_its_colours(pattern, colour):
    with connected(LIVE.format(pattern, 640, 480)) as camera:
        camera.wait_ready(30)
        frame = camera.latest
        assert frame.size == (640, 480)
        assert np.abs(frame.pixels.astype(int) - colour).max() <= 3


@gstreamer
def test_a_string_for_opencv_may_end_in_its_sink():
    spec = LIVE.format("red", 320, 240) + " ! appsink drop=true max-buffers=1 sync=false"
    with connected(spec) as camera:
        camera.wait_ready(30)


@gstreamer
def test_a_size_whose_planes_would_be_padded_is_scaled_to_the_nearest():
    with connected(LIVE.format("red", 642, 361)) as camera:
        camera.wait_ready(30)
        assert camera.latest.size == (640, 360)
        assert np.abs(camera.latest.pixels.astype(int) - (255, 0, 0)).max() <= 3


@gstreamer
def test_a_pipeline_keeps_its_pace_and_its_frames_are_fresh():
    with connected(LIVE.format("snow", 320, 240)) as camera:
        wait_until(lambda: camera.status().frames > 20)
        one = camera.read_latest(max_age_ms=5_000)
        other = camera.wait_newer(one.number, timeout=30)
        assert not np.array_equal(one.pixels, other.pixels)


@gstreamer
def test_a_pipeline_that_ends_is_started_again():
    with connected("videotestsrc num-buffers=3 ! video/x-raw,width=320,height=240") as camera:
        wait_until(lambda: camera.status().reconnects >= 2)
        assert camera.latest is not None
        wait_until(lambda: "has ended" in camera.status().text)


@gstreamer
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("nosuchelement ! queue", 'no element "nosuchelement"'),
        ("v4l2src device=/dev/video63 ! queue", "/dev/video63"),
        ("audiotestsrc ! audioconvert", "could not link"),
        ("csi", 'no element "nvarguscamerasrc"'),
    ],
)
def test_a_pipeline_that_cannot_run_says_what_gstreamer_says(spec, reason):
    with connected(spec) as camera, pytest.raises(CameraError, match=reason) as caught:
        camera.wait_ready(30)
    assert "\n" not in str(caught.value)


@gstreamer
def test_a_silent_pipeline_is_given_up(monkeypatch):
    monkeypatch.setattr("awares_edge.camera.sources.gstreamer._START_SECONDS", 0.3)
    # A source that waits for a sender which never comes.
    with connected("udpsrc address=127.0.0.1 port=0 ! jpegdec") as camera:
        with pytest.raises(CameraError, match="sends no frames"):
            camera.wait_ready(30)
        camera.disconnect()


@gstreamer
def test_no_process_is_left_behind():
    with connected(LIVE.format("snow", 320, 240)) as camera:
        camera.wait_ready(30)
        process = camera.source._process
    assert process.poll() is not None


@gstreamer
def test_a_pipeline_that_cannot_be_read_is_refused():
    with pytest.raises(InputError, match="cannot be read"):
        open_source("videotestsrc ! 'queue")


def test_without_gstreamer_the_packages_are_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match=r"apt install gstreamer1\.0-tools"):
        open_source("videotestsrc ! queue")


@contextmanager
def rtsp_server(port):
    process = subprocess.Popen(
        [SYSTEM_PYTHON, "-I", SERVER, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout.readline() != "ready\n":
            reason = process.stderr.read().strip().splitlines()[-1:]
            pytest.skip(f"no RTSP server here (gir1.2-gst-rtsp-server-1.0, python3-gi): {reason}")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason=f"no {SYSTEM_PYTHON}")
@pytest.mark.skipif(sys.platform != "linux", reason="GStreamer's server is tried on Linux")
def test_an_rtsp_camera_is_read_and_found_again_after_it_was_away(port):
    url = f"rtsp://user:secret@127.0.0.1:{port}/test"
    with rtsp_server(port), connected(url) as camera:
        wait_until(lambda: camera.status().frames > 5)
        frame = camera.latest
        assert frame.size == (320, 240)
        assert "secret" not in camera.status().text
    with connected(url) as camera:
        wait_until(lambda: camera.status().state == "lost")
        assert camera.status().text == f"rtsp://127.0.0.1:{port}/test cannot be opened"
        with rtsp_server(port):
            wait_until(lambda: camera.status().state == "live")
            before = camera.latest.number
        wait_until(lambda: camera.status().state == "lost")
        with rtsp_server(port):
            wait_until(lambda: camera.status().state == "live" and camera.latest.number > before)
