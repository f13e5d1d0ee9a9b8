"""What was computed of a picture, saved and restored in another one of the same pixels."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import AskOptions, ContextOverflow, ImageError, SessionError
from awares_edge.controller import SavedPicture, SavedRegion
from awares_edge.runtimes.base import Mark, SavedSession

QUESTION = "What is the label of the red star?"


@pytest.fixture(scope="module")
def model():
    with awares_edge.load(threads=1) as model:
        yield model


def noise(seed=0, size=(448, 448)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def saved(model):
    """Of a picture of which both views and two regions have been looked at."""
    with model.open(noise()) as picture:
        picture.ask(QUESTION, AskOptions(crops=("0", "3")))
        picture.ask(QUESTION, AskOptions(mode="full"))
        return picture.save()


@pytest.fixture
def picture(model):
    with model.open(noise()) as picture:
        yield picture


def test_views_and_regions_are_saved(saved):
    assert {view.view for view in saved.views} == {"low", "full"}
    assert len(saved.regions) == 2
    assert saved.nbytes > sum(region.features.nbytes for region in saved.regions) > 0


@pytest.mark.parametrize("options", [AskOptions(crops=("0",)), AskOptions(mode="full")])
def test_a_restored_picture_answers_as_it_did(model, saved, picture, options):
    with model.open(noise()) as other:
        expected = other.ask(QUESTION, options)
    picture.restore(saved)
    answer = picture.ask(QUESTION, options)
    assert answer.text == expected.text
    assert answer.log_probability == pytest.approx(expected.log_probability, abs=1e-4)
    assert answer.visual_tokens == expected.visual_tokens
    first = answer.turns[0]
    assert first.reused_tokens + first.prefill_tokens == (
        expected.turns[0].reused_tokens + expected.turns[0].prefill_tokens
    )
    assert first.prefill_tokens == len(model.prompt.ask(QUESTION))
    assert sum(turn.ms["vision"] for turn in answer.turns) == 0
    assert answer.turns[-1].reused_regions == len(options.crops)


def test_it_can_be_saved_again(saved, picture, model):
    picture.restore(saved)
    again = picture.save()
    for one, other in zip(again.views, saved.views, strict=True):
        assert one.session.mark == other.session.mark
        for name, array in one.session.arrays.items():
            np.testing.assert_array_equal(array, other.session.arrays[name])
    assert [r.key for r in again.regions] == [r.key for r in saved.regions]
    assert picture.views.contents == {"low", "full", *(r.key for r in saved.regions)}


def test_restored_regions_are_cut_when_they_are_shown(saved, picture):
    picture.restore(saved)
    assert picture.views.kept() == {}
    picture.ask(QUESTION, AskOptions(crops=("3",)))
    assert list(picture.views.kept()) == [(224, 224, 448, 448)]


def test_a_newer_picture_takes_the_place_of_a_restored_one(saved, picture):
    picture.restore(saved)
    picture.renew(picture.compare(noise(), lambda one, other: one.tobytes() == other.tobytes()))
    assert picture.views.cached == {"low", "full"}
    # Of a region that has not been cut since, there is nothing to compare with.
    assert picture.views.contents == {"low", "full"}


def test_saving_forgets_the_conversation(picture):
    picture.ask(QUESTION)
    picture.save()
    answer = picture.ask("And below it?", AskOptions(follow_up=True))
    assert answer.turns[0].prefill_tokens == len(picture._model.prompt.ask("And below it?"))


def test_a_picture_that_was_asked_about_is_not_restored(saved, picture):
    answer = picture.ask(QUESTION)
    with pytest.raises(SessionError, match="newly opened"):
        picture.restore(saved)
    assert picture.ask(QUESTION).text == answer.text


def test_a_closed_picture_is_neither_saved_nor_restored(saved, picture):
    picture.close()
    for use in (picture.save, lambda: picture.restore(saved)):
        with pytest.raises(SessionError, match="closed"):
            use()


def with_view(saved, **changes):
    first, *others = saved.views
    return replace(saved, views=(replace(first, **changes), *others))


def with_region(saved, key=None, features=None):
    (first, *others) = saved.regions
    changed = SavedRegion(key or first.key, first.features if features is None else features)
    return replace(saved, regions=(changed, *others))


def changed(saved, what):
    mark, arrays = saved.views[0].session.mark, saved.views[0].session.arrays
    box, size, cut = saved.regions[0].key
    features = saved.regions[0].features
    return {
        "fewer cells": with_view(saved, session=SavedSession(Mark(3, 3), arrays)),
        "other position": with_view(
            saved, session=SavedSession(Mark(mark.cells, mark.position + 1), arrays)
        ),
        "other view": with_view(saved, view="full"),
        "no arrays": with_view(saved, session=SavedSession(mark, {})),
        "region of another size": with_region(saved, (box, (size[0] * 2, size[1]), cut)),
        "region too narrow": with_region(saved, (box, (1, 10_000), cut)),
        "region without size": with_region(saved, (box, (0, 0), cut)),
        "other features": with_region(saved, features=features[:, :-1]),
        "other dtype": with_region(saved, features=features.astype(np.float64)),
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        *("fewer cells", "other position", "other view", "no arrays", "region of another size"),
        *("region too narrow", "region without size", "other features", "other dtype"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_restored(saved, picture, what):
    with pytest.raises((SessionError, ImageError)):
        picture.restore(changed(saved, what))
    assert picture.views.contents == frozenset()
    picture.ask(QUESTION)


def test_a_picture_of_another_size_is_refused(model, saved):
    with model.open(noise(size=(448, 224))) as other, pytest.raises(SessionError):
        other.restore(saved)


def test_a_context_that_is_too_short_is_refused(saved):
    with (
        awares_edge.load(threads=1, context=saved.views[0].session.mark.cells - 1) as short,
        short.open(noise()) as picture,
        pytest.raises(ContextOverflow),
    ):
        picture.restore(saved)


def test_nothing_saved_is_nothing_restored(picture):
    assert picture.save() == SavedPicture(())
    picture.restore(SavedPicture(()))
    picture.ask(QUESTION)
