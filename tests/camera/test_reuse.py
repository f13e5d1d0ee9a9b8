"""What looks the same from frame to frame is not computed again, and the answers are the same."""

from contextlib import contextmanager
from itertools import combinations, product

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge.camera import Station, StationOptions
from awares_edge.camera.reuse import THRESHOLD, ReusingModel, largest_change, look_the_same
from awares_edge.synth import generate
from awares_edge.synth.text import FONTS, draw_text
from tests.camera.fakes import SteadySource, noise, wait_until

CALL = "GET_CROPS: ['3']"


def picture(pixels):
    return Image.fromarray(pixels)


def test_equal_pictures_do_not_differ():
    assert largest_change(picture(noise()), picture(noise())) == 0


def test_the_change_is_that_of_the_most_changed_pixel_in_any_colour():
    before = np.full((30, 41, 3), 100, np.uint8)
    after = before.copy()
    after[7, 3] = (100, 180, 90)
    after[29, 40] = (90, 90, 90)
    assert largest_change(picture(before), picture(after)) == 80
    assert largest_change(picture(after), picture(before)) == 80


def test_a_sensors_noise_is_not_a_change():
    rng = np.random.default_rng(0)
    scene = generate("test", 0, 0).picture.astype(np.float64)

    def frame():
        return picture(np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8))

    frames = [frame() for _ in range(20)]
    assert all(look_the_same(frames[0], other) for other in frames[1:])


@pytest.mark.parametrize("contrast", [66, 220])
def test_a_small_letter_that_becomes_another_one_is_a_change(contrast):
    characters, least = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", 256
    ink = (240 - contrast,) * 3
    for font, x in product(FONTS, range(4)):
        drawn = []
        for character in characters:
            pixels = np.full((20, 20, 3), 240, np.uint8)
            draw_text(pixels, x, 15, character, font=font, size=10, colour=ink)
            drawn.append(picture(pixels))
        least = min(least, *(largest_change(a, b) for a, b in combinations(drawn, 2)))
    assert least > THRESHOLD


def test_pictures_of_two_sizes_never_look_the_same():
    assert not look_the_same(picture(noise()), picture(noise(size=(448, 447))))


@pytest.fixture(scope="module")
def nano():
    with awares_edge.load(threads=1) as model:
        yield model


def frames_of_a_scene():
    """Questions about a scene that stands still with noise, changes in one place, and changes."""
    rng = np.random.default_rng(1)
    for index in range(3):
        sample = generate("test", 5, index)
        for _ in range(3):
            grain = rng.normal(0, 2, (224, 224, 1))
            frame = np.clip(sample.picture + grain, 0, 255).astype(np.uint8)
            for question in sample.questions[:2]:
                yield frame, question.text


def test_answers_with_kept_kv_are_those_without(nano):
    reusing, kept = ReusingModel(nano), []
    with reusing:
        for frame, question in frames_of_a_scene():
            with reusing.open(frame) as lent:
                answer = lent.ask(question)
            kept.append(reusing.kept(answer))
            seen = reusing.seen(answer)
            fresh = nano.ask(frame, question)
            assert answer.text == fresh.text
            assert [c.id for c in answer.crops] == [c.id for c in fresh.crops]
            assert [crop.size for _, crop in seen.crops] == [c.size for c in answer.crops]
    assert sum(one.view for one in kept) == len(kept) - 3  # once for each scene
    assert any(one.regions for one in kept)


def test_an_answer_stands_until_something_changes_that_the_model_saw(nano):
    sample = generate("test", 5, 0)
    question = next(q for q in sample.questions if q.size == "small")
    with ReusingModel(nano) as reusing:
        with reusing.open(sample.picture) as lent:
            answer = lent.ask(question.text)
        assert answer.crops
        assert reusing.stands(answer, sample.picture)
        left, top, right, bottom = question.evidence[0]
        changed = sample.picture.copy()
        changed[top:bottom, left:right] = changed[top:bottom, left:right][::-1]
        assert not reusing.stands(answer, changed)
        assert not reusing.stands(answer, noise(size=(448, 448)))


def test_a_picture_that_failed_is_not_used_again():
    model = awares_edge.scripted(["one"])
    with ReusingModel(model) as reusing:
        with reusing.open(noise()) as lent:
            lent.ask("What?")
            with pytest.raises(awares_edge.SessionError, match="used up"):
                lent.ask("What?")
        model.runtime.script("two")
        with reusing.open(noise()) as lent:
            assert lent.ask("What?").text == "two"
    assert len(model.runtime.images) == 2


class Elsewhere:
    """A model whose pictures are not on this machine."""

    def __init__(self, inner):
        self.inner, self.opened = inner, 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def open(self, image):
        self.opened += 1
        held = self.inner.open(image)

        class Remote:
            def __getattr__(self, name):
                return getattr(held, name)

        return Remote()


def test_a_model_elsewhere_opens_every_frame():
    model = Elsewhere(awares_edge.scripted([CALL, "one", "two"]))
    with ReusingModel(model) as reusing:
        for text in ("one", "two"):
            with reusing.open(noise()) as lent:
                answer = lent.ask("What?")
                assert answer.text == text
                assert reusing.kept(answer).tokens == 0
                assert reusing.seen(answer).first.size == (224, 224)
    assert model.opened == 2


@contextmanager
def watching(*replies):
    source = SteadySource(lambda _: noise(0), still=True)
    model = awares_edge.scripted(replies)
    options = StationOptions("driven")
    with model, Station(model, options, opener=lambda spec: source) as station:
        yield station, source


def kinds(station):
    return [e.event.kind for e in station.events_after(0) if e.event.kind not in ("state", "stats")]


def test_a_continuous_question_is_not_asked_again_while_nothing_changes():
    with watching(CALL, "42", CALL, "43") as (station, source):
        source.make = lambda _: noise(0)
        station.ask("What?", continuous=True)
        wait_until(lambda: kinds(station).count("unchanged") >= 3)
        assert kinds(station).count("answer") == 1
        assert station.stats().unchanged >= 3
        source.make = lambda _: noise(1)
        wait_until(lambda: kinds(station).count("answer") == 2)
        assert [e.answer for e in station.history()] == ["42", "43"]
        assert station.stats().kept_views == 0


def test_what_was_kept_is_counted():
    with watching(CALL, "42", CALL, "42") as (station, _):
        for count in (1, 2):
            station.ask("What?")
            wait_until(lambda n=count: kinds(station).count("answer") == n)
        first, second = station.history()
        assert (first.kept_view, first.kept_regions) == (False, 0)
        assert (second.kept_view, second.kept_regions) == (True, 1)
        stats = station.stats()
        assert (stats.views, stats.kept_views) == (2, 1)
        assert (stats.regions, stats.kept_regions) == (2, 1)
        assert stats.kept_tokens == sum(second.visual_tokens[k] for k in ("low", "crops"))
