"""The page in a real browser: every screen, keyboard and colours; tokens and other pages."""

import re

import pytest

from awares_edge.camera.web.certificate import certificate_for
from tests.camera.page_support import (
    CALL,
    TOKEN,
    answered,
    ask,
    live,
    page_served,
    until,
    visiting,
)

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


class TestLooks:
    @pytest.mark.parametrize("width", [320, 390, 768, 1280])
    def test_nothing_is_wider_than_the_screen(self, browser, still, width):
        still.script(CALL, "W" * 60)
        context = {**PHONE, "viewport": {"width": width, "height": 844}}
        with visiting(browser, still, **context) as tab:
            ask(live(tab), "What is written on the " + "very" * 30 + " long sign?")
            tab.wait_for_selector(".phases")
            until(tab, "document.querySelectorAll('#pictures img').length === 3")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            for control in ("#ask-new", "#ask-follow", "#stop", "#continuous", "#record"):
                box = tab.locator(control).bounding_box()
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width
                assert box["height"] >= 24  # WCAG 2.2, 2.5.8

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_words_stand_out_in_light_and_dark(self, browser, still, scheme):
        still.script(CALL, "EXIT")
        with visiting(browser, still, color_scheme=scheme) as tab:
            ask(live(tab), "What?")
            tab.wait_for_selector(".phases")
            paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (luminance(paper) > 0.5) is (scheme == "light")
            for selector in ("#answer-text", ".badge", ".quiet", ".phases th", "#ask-new", "#link"):
                assert contrast(tab, selector) >= 4.5, selector  # WCAG 2.2, 1.4.3

    def test_every_control_has_a_name(self, browser, still):
        still.script("yes")
        with visiting(browser, still) as tab:
            ask(live(tab), "What?")
            answered(tab, "yes")
            nameless = tab.evaluate(NAMELESS)
            assert nameless == []


class TestKeyboard:
    def test_a_question_without_a_mouse(self, browser, still):
        still.script("a sign", "red", "again")
        with visiting(browser, still) as tab:
            live(tab).keyboard.press("/")
            tab.keyboard.type("What is there?")
            tab.keyboard.press("Enter")
            answered(tab, "a sign")
            tab.keyboard.press("Control+A")
            tab.keyboard.type("Which colour?")
            tab.wait_for_selector("#ask-follow:enabled")
            tab.keyboard.press("Shift+Enter")
            answered(tab, "red")
            assert still.last().follow_up
            assert still.last().question == "Which colour?"

    def test_single_keys(self, browser, still):
        still.script("one", "two", *["more"] * 500)
        with visiting(browser, still) as tab:
            for words in ("one", "two"):
                ask(live(tab), "Which?")
                answered(tab, words)
            tab.locator("#question").blur()
            tab.keyboard.press("l")
            tab.wait_for_selector("#live:visible")
            tab.keyboard.press("ArrowRight")
            answered(tab, "one")
            tab.keyboard.press("ArrowLeft")
            answered(tab, "two")
            tab.keyboard.press("c")
            tab.wait_for_selector("#continuous[aria-pressed=true]")
            tab.keyboard.press("Escape")
            tab.wait_for_selector("#continuous[aria-pressed=false]")
            tab.keyboard.press("?")
            tab.wait_for_selector("#help[open]")
            shown = tab.locator("#keys dd").all_inner_texts()
            assert "continuous on, off" in shown

    def test_letters_in_a_question_are_letters(self, browser, still):
        with visiting(browser, still) as tab:
            live(tab).click("#question")
            tab.keyboard.type("rock / lc?")
            assert tab.input_value("#question") == "rock / lc?"
            assert not still.station.state().question
            assert tab.locator("dialog[open]").count() == 0

    def test_single_keys_can_be_switched_off(self, browser, still):
        with visiting(browser, still) as tab:
            live(tab).keyboard.press("?")
            tab.uncheck("#keys-on")
            tab.click("#help button")
            tab.keyboard.press("s")
            assert tab.locator("dialog[open]").count() == 0
            tab.reload()
            live(tab).keyboard.press("s")
            assert tab.locator("dialog[open]").count() == 0


class TestTokens:
    def test_the_link_opens_the_page_and_leaves_no_token_behind(self, browser):
        with (
            page_served("yes", token=TOKEN) as served,
            visiting(browser, served, f"/#token={TOKEN}") as tab,
        ):
            live(tab)
            assert tab.url == f"{served.url}/"
            assert tab.evaluate("document.cookie") == ""
            ask(tab, "What?")
            answered(tab, "yes")
            tab.reload()
            live(tab)

    def test_without_it_the_page_asks(self, browser):
        with page_served(token=TOKEN) as served, visiting(browser, served) as tab:
            tab.wait_for_selector("#login[open]")
            tab.fill("#token", "not the token at all")
            tab.click("#login button")
            tab.wait_for_selector("#login-note:has-text('wrong token')")
            assert tab.get_attribute("#live", "data-frame") is None
            tab.wait_for_selector("#link.off:has-text('locked')")
            tab.fill("#token", TOKEN)
            tab.click("#login button")
            live(tab)
            assert tab.locator("dialog[open]").count() == 0

    def test_over_https_with_a_certificate_of_its_own(self, browser, tmp_path):
        certificate = certificate_for(["127.0.0.1"], tmp_path)
        with (
            page_served("yes", token=TOKEN, certificate=certificate) as served,
            visiting(browser, served, f"/#token={TOKEN}") as tab,
        ):
            live(tab)
            cookie = tab.context.cookies()[0]
            kept = [cookie[name] for name in ("secure", "httpOnly", "sameSite")]
            assert kept == [True, True, "Strict"]

    def test_another_page_gets_nothing(self, browser, still):
        """A page on this machine, of another port: pictures, data and changes are refused."""
        with page_served() as other, browser.new_context() as context:
            tab = context.new_page()
            # A page without this page's own policy, which plays the foreign one.
            evil = {"body": "<p>evil</p>", "content_type": "text/html"}
            tab.route(f"{other.url}/evil", lambda route: route.fulfill(**evil))
            tab.goto(f"{other.url}/evil")
            read = f"fetch('{still.url}/api/state').then(r => r.text(), () => 'no')"
            assert tab.evaluate(read) == "no"
            assert tab.evaluate(LOADS, f"{still.url}/api/frame.jpg") == "no"
            body = "{method: 'POST', mode: 'no-cors', body: JSON.stringify({question: 'What?'})}"
            tab.evaluate(f"fetch('{still.url}/api/ask', {body}).catch(() => 0)")
            assert still.station.history() == []


LOADS = """
(url) => new Promise((done) => {
  const image = new Image();
  image.onload = () => done("yes");
  image.onerror = () => done("no");
  image.src = url;
})
"""
NAMELESS = """
[...document.querySelectorAll('button, input, select, textarea, a[href], summary')]
  .filter(e => e.checkVisibility())
  .filter(e => !(e.innerText?.trim() || e.labels?.length || e.ariaLabel || e.title))
  .map(e => e.outerHTML)
"""


def luminance(colour):
    """WCAG's relative luminance of "rgb(r, g, b)"."""
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(tab, selector):
    """WCAG's contrast of an element's text with the nearest background behind it."""
    colour, behind = tab.eval_on_selector(
        selector,
        """(e) => { const c = getComputedStyle(e).color; let b = e;
        while (b && /, 0\\)$/.test(getComputedStyle(b).backgroundColor)) b = b.parentElement;
        return [c, getComputedStyle(b).backgroundColor]; }""",
    )
    high, low = sorted((luminance(colour), luminance(behind)), reverse=True)
    return (high + 0.05) / (low + 0.05)
