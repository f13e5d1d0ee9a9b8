"""A browser for the tests of the page, and a page to look at."""

import pytest

from tests.camera.page_support import LosableSource, chromium, page_served

FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


# Not for the session: while it lives, Playwright keeps an event loop running in this thread.
@pytest.fixture(scope="module")
def browser():
    with chromium(*FAKE_CAMERA) as opened:
        yield opened


@pytest.fixture
def still():
    """A page whose scene does not change."""
    with page_served(opener=lambda _: LosableSource()) as served:
        yield served
