"""Recordings of the embedded model, made once."""

import numpy as np
import pytest

import awares_edge
from awares_edge.controller.model import Model
from awares_edge.evaluation.parity import record
from awares_edge.evaluation.parity.questions import synthetic_questions
from awares_edge.evaluation.watch import WatchedRuntime
from awares_edge.runtimes.base import EncodedImage

ABOUT = {"model": "nano", "runtime": "onnx", "precision": "fp16"}


class Disturbed(WatchedRuntime):
    """A runtime with errors of a known size, in the features or in the logits."""

    def __init__(self, inner, *, features=0.0, logits=0.0):
        self.rng = np.random.default_rng(0)
        self.features, self.logits = features, logits
        super().__init__(inner, lambda _, rows: self.noisy(rows, self.logits))

    def noisy(self, values, scale):
        noise = self.rng.standard_normal(values.shape).astype(np.float32)
        return values + scale * values.std() * noise

    def encode_image(self, patches):
        image = super().encode_image(patches)
        return EncodedImage(self.noisy(image.features, self.features), image.grid)

    def open_session(self, context=None):
        return OpenSession(super().open_session(context))


class OpenSession:
    """A watched session as a context manager, as real ones are."""

    def __init__(self, session):
        self.session = session

    def __getattr__(self, name):
        return getattr(self.session, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture(scope="session")
def nano():
    with awares_edge.load(threads=1) as model:
        yield model


@pytest.fixture(scope="session")
def disturbed(nano):
    """The embedded model with errors of the given size."""

    def make(**sizes):
        runtime = Disturbed(nano.runtime, **sizes)
        return Model(runtime, nano.tokenizer, nano.special, nano.protocol, nano.preprocessing)

    return make


@pytest.fixture(scope="session")
def questions():
    return synthetic_questions("test", 0, 24)


@pytest.fixture(scope="session")
def recording(nano, questions):
    return record(nano, ABOUT, questions, probes=8)
