"""Pictures of a request: only data URLs, within limits, several on one sheet."""

import base64

import numpy as np
import pytest

from awares_edge.errors import ImageError
from awares_edge.httpd.refusals import Refusal
from awares_edge.serve.images import ImageData, make_sheet, read_images
from awares_edge.serve.options import ServeOptions
from tests.serve.support import data_url, encoded, picture

OPTIONS = ServeOptions()


def sheet(*images, max_pixels=10_000_000):
    return make_sheet(ImageData(tuple(map(encoded, images)), ""), max_pixels)


def test_a_data_url_is_its_bytes():
    image = picture()
    assert read_images([data_url(image)], OPTIONS).files == (encoded(image),)


def test_parameters_of_the_media_type_are_allowed():
    url = "DATA:image/png;name=a.png;base64," + base64.b64encode(b"x").decode()
    assert read_images([url], OPTIONS).files == (b"x",)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "https://example.org/a.png",
        "HTTP://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "/etc/passwd",
        "../../etc/passwd",
        "ftp://example.org/a",
        "data:text/html;base64,AAAA",
        "data:image/png,plain",
        "data:image/png;base64,@@@@",
        "data:image/png;base64,AAA",
        "data:image/png;base64,\u00e9\u00e9\u00e9\u00e9",
        "data:,",
        "",
    ],
)
def test_nothing_else_is_opened_or_fetched(url, monkeypatch):
    def never(*_, **__):
        raise AssertionError("opened")

    monkeypatch.setattr("socket.create_connection", never)
    monkeypatch.setattr("builtins.open", never)
    with pytest.raises(Refusal) as caught:
        read_images([url], OPTIONS)
    assert (caught.value.status, caught.value.code) == (400, "invalid_image_url")


def test_the_digest_tells_pictures_and_their_order_apart():
    one, two = data_url(picture(1)), data_url(picture(2))
    lists = ([one], [two], [one, two], [two, one], [one, one])
    digests = {read_images(urls, OPTIONS).digest for urls in lists}
    assert len(digests) == 5


def test_a_single_picture_stays_as_it_is():
    found = sheet(picture(1))
    assert np.array_equal(found.image, picture(1))
    assert found.cells == ((0, 0, 448, 336),)


def test_four_pictures_fill_the_quadrants_unchanged():
    images = [picture(i) for i in range(4)]
    found = sheet(*images)
    assert found.image.size == (896, 672)
    for image, cell in zip(images, found.cells, strict=True):
        assert np.array_equal(found.image.crop(cell), image)


def test_smaller_pictures_are_centred_on_white():
    found = sheet(picture(0, (100, 60)), picture(1, (40, 20)))
    assert found.cells == ((0, 0, 100, 60), (130, 20, 170, 40))
    assert found.image.getpixel((110, 5)) == (255, 255, 255)


def test_a_sheet_stays_within_the_limit():
    found = sheet(picture(0, (400, 10)), picture(1, (10, 400)), max_pixels=10_000)
    assert found.image.width * found.image.height <= 10_000


def test_pixels_are_counted_over_all_pictures():
    two = [picture(0, (100, 100)), picture(1, (100, 100))]
    sheet(*two, max_pixels=20_000)
    with pytest.raises(ImageError, match="image 2 has 100x100 pixels, over 9,999"):
        sheet(*two, max_pixels=19_999)


def test_too_many_pictures_are_refused():
    with pytest.raises(Refusal) as caught:
        read_images([data_url(picture())] * 17, OPTIONS)
    assert caught.value.code == "too_many_images"
