"""What every HTML report must be: well formed, self-contained, and free of holes."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

VOID = {"meta", "br"}
# Never seen in a report: what a template leaves behind, and missing values.
HOLES = re.compile(r"\b(None|NaN|nan|inf|undefined|null|TODO|TBD|FIXME|Lorem|XXX)\b|[{}]|%[sd]")


class Page(HTMLParser):
    def __init__(self, source):
        super().__init__()
        self.open, self.text, self.requests, self.tags = [], [], [], set()
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.requests += [v for k, v in attributes if k in ("src", "href", "srcset", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def check_page(source):
    """Assert what this module promises; the page's text."""
    page = Page(source)
    assert page.requests == []
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert "url(" not in source
    assert "@import" not in source
    assert "http" not in source
    assert "prefers-color-scheme:dark" in source
    assert 'name="viewport"' in source
    text = " ".join(page.text)
    assert HOLES.findall(text) == []
    return " ".join(text.split())


def render(path, width=900, height=1400):
    """A screenshot of a page, as uint8 [height, width, 3]; skips where there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    picture = path.with_suffix(".png")
    subprocess.run(
        [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={path.parent / 'browser'}", f"--window-size={width},{height}",
         f"--screenshot={picture}", path.resolve().as_uri()],
        check=True, capture_output=True, timeout=180,
    )  # fmt: skip
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB"))


def check_rendered(path):
    """Assert that a browser draws a page with words and colours on it."""
    pixels = render(path)
    paper = (pixels == pixels[0, 0]).all(axis=-1).mean()
    assert 0.3 < paper < 0.98
    colourful = pixels.max(axis=-1).astype(int) - pixels.min(axis=-1) > 60
    assert colourful.mean() > 0.002
