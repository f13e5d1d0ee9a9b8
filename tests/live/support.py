"""What the tests of live questions share."""

import threading
from contextlib import contextmanager

import numpy as np

import awares_edge
from awares_edge.live import Answered, Failed, Frame, LiveAsker, Started

PIXELS = np.random.default_rng(3).integers(0, 256, (448, 560, 3), dtype=np.uint8)
CALL = "GET_CROPS: ['3']"


def frame(taken=0.0, stamp=None):
    return Frame(PIXELS, taken, stamp)


class Clock:
    """A clock that tests set."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Events(list):
    """A subscriber that keeps what it is given, and on which thread."""

    def __init__(self):
        self.threads = set()

    def __call__(self, event):
        self.append(event)
        self.threads.add(threading.get_ident())

    def of(self, ticket):
        return [event for event in self if event.ticket is ticket]


@contextmanager
def asking(*replies, model=None, **options):
    """An asker with a clock at 0, its events, and a model that gives `replies`."""
    model = model or awares_edge.scripted(replies)
    events = Events()
    with model, LiveAsker(model, **{"clock": Clock(), **options}) as asker:
        asker.subscribe(events)
        yield asker, events


@contextmanager
def worker_held(asker):
    """Keep the worker busy, with a source that gives its frame at the end of the block."""
    begun, go = threading.Event(), threading.Event()

    def source():
        begun.set()
        assert go.wait(30)
        return frame()

    ticket = asker.submit(source, "held?")
    assert begun.wait(30)
    try:
        yield ticket
    finally:
        go.set()


def well_formed(events):
    """Whether each question has its events in the order that events.py draws, one at a time."""
    ended, running = set(), None
    for event in events:
        if event.ticket in ended:
            return False
        if isinstance(event, Answered | Failed):
            ended.add(event.ticket)
            running = None if running is event.ticket else running
        elif isinstance(event, Started):
            if running is not None:
                return False
            running = event.ticket
        elif running is not event.ticket:
            return False
    return running is None
