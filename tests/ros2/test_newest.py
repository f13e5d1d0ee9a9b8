"""The newest picture: converted when it is asked about, held when it is captured."""

import math
import threading

import pytest
from sensor_msgs.msg import Image

from awares_edge.errors import ImageError
from awares_ros.newest import NewestPicture


def message(name):
    made = Image(encoding=name)
    made.header.frame_id = name
    return made


class Converter:
    def __init__(self):
        self.calls = []

    def __call__(self, message):
        self.calls.append(message.encoding)
        if message.encoding == "broken":
            raise ImageError("broken")
        return message.encoding


def test_only_what_is_asked_about_is_converted_and_once():
    convert = Converter()
    newest = NewestPicture(convert)
    assert (newest(), newest.taken) == (None, None)
    for number in range(5):
        newest.put(message(str(number)), float(number))
    frame = newest()
    assert newest() is frame
    assert (frame.image, frame.taken, frame.stamp.frame_id) == ("4", 4.0, "4")
    assert (convert.calls, newest.received) == (["4"], 5)


def test_a_captured_picture_stays_until_it_is_released_and_never_gets_too_old():
    newest = NewestPicture(Converter())
    assert newest.capture() is None
    newest.put(message("a"), 1.0)
    kept = newest.capture()
    newest.put(message("b"), 2.0)
    assert newest() is kept
    assert (kept.image, kept.taken) == ("a", math.inf)
    newest.release()
    assert newest().image == "b"


def test_a_picture_that_cannot_be_converted_leaves_the_captured_one():
    newest = NewestPicture(Converter())
    newest.put(message("a"), 1.0)
    kept = newest.capture()
    newest.put(message("broken"), 2.0)
    with pytest.raises(ImageError):
        newest.capture()
    assert newest() is kept


def test_pictures_arrive_while_one_is_converted():
    begun, go = threading.Event(), threading.Event()

    def convert(message):
        begun.set()
        assert go.wait(60)
        return message.encoding

    newest, frames = NewestPicture(convert), []
    newest.put(message("a"), 1.0)
    asking = threading.Thread(target=lambda: frames.append(newest()))
    asking.start()
    assert begun.wait(60)
    newest.put(message("b"), 2.0)
    go.set()
    asking.join()
    assert [frame.image for frame in frames] == ["a"]
    assert newest().image == "b"
