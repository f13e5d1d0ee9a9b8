"""A camera: the freshest frame only, how old it is, and what happens when it fails."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest

from awares_edge import CameraError
from awares_edge.camera import Camera
from awares_edge.camera.stillness import Stillness
from tests.camera.fakes import DrivenSource, SteadySource, noise, wait_until


@contextmanager
def connected(source, **options):
    camera = Camera(source, **{"max_fps": 1e9, "retry": 0.01, **options})
    camera.connect()
    try:
        yield camera
    finally:
        camera.disconnect()


def test_only_the_newest_frame_is_kept():
    with connected(source := DrivenSource()) as camera:
        for seed in range(5):
            source.put(noise(seed))
        wait_until(lambda: camera.latest and camera.latest.number == 5)
        frame = camera.read_latest(max_age_ms=60_000)
        assert (frame.number, frame.size) == (5, (448, 448))
        assert np.array_equal(frame.pixels, noise(4))


def test_a_frame_cannot_be_changed_by_a_reader():
    with connected(source := DrivenSource()) as camera:
        source.put(noise())
        frame = camera.wait_newer(0, timeout=30)
        with pytest.raises(ValueError, match="read-only"):
            frame.pixels[0, 0] = 0


def test_before_the_first_frame_there_is_none_and_the_reason():
    with connected(DrivenSource(name="usb")) as camera:
        assert camera.latest is None
        assert camera.status().state == "connecting"
        with pytest.raises(CameraError, match="opening camera usb"):
            camera.read_latest()


def test_a_stale_frame_is_refused_with_its_age():
    with connected(source := DrivenSource()) as camera:
        source.put(noise())
        frame = camera.wait_newer(0, timeout=30)
        wait_until(lambda: frame.age_ms > 50)
        with pytest.raises(CameraError, match=r"sends no frames \(the newest frame is 0.\d s old"):
            camera.read_latest(max_age_ms=50)
        assert camera.read_latest(max_age_ms=60_000) is frame
        assert camera.latest is frame


def test_a_camera_that_falls_silent_is_lost():
    with connected(source := DrivenSource()) as camera:
        source.put(noise())
        wait_until(lambda: camera.status().state == "live")
        wait_until(lambda: camera.status().state == "lost")
        assert "has sent no frame for" in camera.status().text
        source.put(noise(1))
        wait_until(lambda: camera.status().state == "live")


def test_an_unplugged_camera_is_lost_with_the_reason_and_comes_back():
    with connected(source := DrivenSource()) as camera:
        source.put(noise())
        wait_until(lambda: camera.status().state == "live")
        source.refuse = "there is no camera at /dev/video0: plug it in"
        source.fail("camera driven sends no frames any more")
        wait_until(lambda: camera.status().text == source.refuse)
        assert camera.status().state == "lost"
        assert camera.status().fps == 0
        tries = source.opened
        wait_until(lambda: source.opened > tries + 2)
        source.refuse = ""
        source.put(noise(1))
        wait_until(lambda: camera.status().state == "live")
        assert np.array_equal(camera.read_latest(max_age_ms=60_000).pixels, noise(1))
        assert camera.status().reconnects > 2


def test_it_is_opened_again_within_two_seconds():
    camera = Camera(DrivenSource())
    assert camera.retry <= 0.5  # with 1.5 s of silence that a source may need to notice


def test_a_decoder_that_raises_anything_does_not_end_the_thread():
    with connected(source := DrivenSource()) as camera:
        source.fail(RuntimeError("a decoder's\nown words"))
        wait_until(lambda: camera.status().state == "lost")
        assert camera.status().text == ("camera driven failed: RuntimeError: a decoder's own words")
        source.put(noise())
        wait_until(lambda: camera.status().state == "live")


@pytest.mark.parametrize(
    ("pixels", "shown"),
    [
        (np.zeros((4, 6), np.uint8), "4 x 6 uint8"),
        (np.zeros((4, 6, 3), np.uint16), "4 x 6 x 3 uint16"),
        (np.zeros((4, 6, 2), np.uint8), "4 x 6 x 2 uint8"),
        (np.zeros((0, 6, 3), np.uint8), "6 x 0 pixels"),
    ],
    ids=["flat", "16 bits", "two channels", "empty"],
)
def test_a_wrong_format_is_refused_in_one_line(pixels, shown):
    with connected(source := DrivenSource()) as camera:
        source.put(pixels)
        wait_until(lambda: camera.status().state == "lost")
        text = camera.status().text
        assert "camera driven sends frames of" in text
        assert shown in text
        assert "\n" not in text


def test_a_frozen_camera_is_found_opened_again_and_not_asked():
    with connected(source := SteadySource(lambda _: noise()), frozen_after=0.1) as camera:
        wait_until(lambda: camera.status().state == "frozen")
        assert "is frozen: its picture has been the same for" in camera.status().text
        wait_until(lambda: source.opened == 2)
        with pytest.raises(CameraError, match="is frozen"):
            camera.read_latest(max_age_ms=60_000)
        assert camera.latest is not None
        source.make = noise
        wait_until(lambda: camera.status().state == "live")
        assert camera.read_latest(max_age_ms=60_000)


def test_opening_a_frozen_camera_again_becomes_rarer():
    now = [0.0]
    stillness = Stillness(3.0, clock=lambda: now[0])
    reopened = []
    for second in range(30):
        now[0] = float(second)
        if stillness.lasts(noise()) and stillness.should_reopen():
            reopened.append(second)
    assert reopened == [3, 6, 12, 24]
    now[0] = 31.0
    assert not stillness.lasts(noise(1))


@pytest.mark.parametrize("by", ["source", "caller"])
def test_equal_frames_are_normal_where_that_is_said(by):
    source = SteadySource(lambda _: noise(), still=by == "source")
    with connected(source, frozen_after=0.05, may_be_still=by == "caller") as camera:
        wait_until(lambda: source.decoded > 40)
        assert camera.status().state == "live"
        assert source.opened == 1


def test_a_change_anywhere_shows_that_a_camera_is_not_frozen():
    def still_but_for_noise(number):
        pixels = np.zeros((448, 448, 3), np.uint8)
        pixels[::8, ::8] = number % 2
        return pixels

    source = SteadySource(still_but_for_noise)
    with connected(source, frozen_after=0.05) as camera:
        wait_until(lambda: source.decoded > 40)
        assert camera.status().state == "live"


def test_4k_at_60_frames_keeps_up_by_dropping():
    """A frame takes longer to decode than to arrive: what is between is never decoded."""
    frame = np.zeros((2160, 3840, 3), np.uint8)

    def slow(number):
        threading.Event().wait(0.03)
        copy = frame.copy()
        copy[0, 0] = number % 256
        return copy

    source = SteadySource(slow, fps=60)
    with connected(source, max_fps=10, may_be_still=True) as camera:
        wait_until(lambda: source.grabbed > 40)
        status, latest = camera.status(), camera.latest
        assert latest.size == (3840, 2160)
        # The newest decoded frame is among the last that arrived: there is no backlog.
        assert status.frames - latest.number < 20
        assert status.skipped > status.frames / 2
        assert source.decoded < source.grabbed / 2


def test_two_readers_read_the_same_frames():
    with connected(source := SteadySource(fps=100)) as camera:
        seen = {"one": [], "two": []}

        def read(name):
            number = 0
            while len(seen[name]) < 20:
                frame = camera.wait_newer(number, timeout=30)
                number = frame.number
                seen[name].append(frame)

        threads = [threading.Thread(target=read, args=(name,)) for name in seen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for frames in seen.values():
            numbers = [frame.number for frame in frames]
            assert numbers == sorted(set(numbers))
            assert all(np.array_equal(f.pixels, noise(f.number)) for f in frames)
        assert source.opened == 1


def test_waiting_for_a_newer_frame_ends_with_the_camera():
    with connected(DrivenSource()) as camera:
        assert camera.wait_newer(0, timeout=0.01) is None
        got = []
        thread = threading.Thread(target=lambda: got.append(camera.wait_newer(0)))
        thread.start()
        camera.disconnect()
        thread.join(30)
        assert got == [None]


def test_disconnecting_closes_the_source_and_may_be_done_twice():
    source = DrivenSource()
    with connected(source) as camera:
        wait_until(lambda: source.opened)
        camera.disconnect()
    assert source.closed == 1
    assert camera.status().state == "closed"


def test_waiting_until_ready_says_why_it_is_not():
    source = DrivenSource()
    source.refuse = "no permission for /dev/video0: add this user to the group video"
    with connected(source) as camera, pytest.raises(CameraError, match="no permission"):
        camera.wait_ready(30)
    with connected(DrivenSource()) as camera, pytest.raises(CameraError, match="opening"):
        camera.wait_ready(0.01)
    with connected(SteadySource()) as camera:
        camera.wait_ready(30)
        assert camera.latest is not None
