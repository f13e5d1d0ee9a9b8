"""A picture that takes a newer frame's pixels: what looks the same is not computed again."""

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import AskOptions, ImageError, SessionError
from tests.controller.scripted import CALL, IMAGE

SIZES_OF_ONE_ANSWER = [(8, 10), (8, 10)]  # the low-res view, then the quadrant


def equal(one, other):
    return np.array_equal(np.asarray(one), np.asarray(other))


def renew(picture, image, same=equal):
    unchanged = picture.compare(image, same)
    picture.renew(unchanged)
    return unchanged


def painted(box, colour=(255, 0, 0)):
    image = IMAGE.copy()
    image.paste(colour, box)
    return image


def test_an_equal_picture_is_not_computed_again():
    model = awares_edge.scripted([CALL, "42", CALL, "42"])
    with model.open(IMAGE) as picture:
        first = picture.ask("What?")
        forwarded = model.runtime.forwarded
        unchanged = renew(picture, IMAGE.copy())
        assert unchanged.holds(first)
        second = picture.ask("What?")
        assert model.runtime.images == SIZES_OF_ONE_ANSWER
        assert second.turns[0].reused_tokens > second.visual_tokens.low
        assert second.turns[1].reused_regions == 1
        assert model.runtime.forwarded - forwarded < forwarded


def test_a_changed_view_is_computed_again_and_an_unchanged_region_is_not():
    model = awares_edge.scripted([CALL, "42", CALL, "43"])
    with model.open(IMAGE) as picture:
        first = picture.ask("What?")
        assert not renew(picture, painted((0, 0, 100, 100))).holds(first)
        answer = picture.ask("What?")
        assert answer.text == "43"
        assert answer.turns[1].reused_regions == 1
        assert model.runtime.images == [*SIZES_OF_ONE_ANSWER, (8, 10)]


def test_a_changed_region_is_computed_again_even_where_the_view_looks_the_same():
    model = awares_edge.scripted([CALL, "42", CALL, "43"])
    newer = painted((300, 300, 400, 400))
    with model.open(IMAGE) as picture:
        first = picture.ask("What?")
        # The view is 280 x 224 and so is the quadrant: tell them apart by their pixels.
        view = np.asarray(picture.first_view(first))

        def same_view_only(one, other):
            return np.array_equal(np.asarray(one), view) or equal(one, other)

        assert not renew(picture, newer, same_view_only).holds(first)
        second = picture.ask("What?")
        assert second.turns[0].reused_tokens > second.visual_tokens.low
        assert second.turns[1].reused_regions == 0
        kept = picture.views.kept()[second.crops[0].box]
        assert equal(kept, newer.crop(second.crops[0].box))


def test_what_is_shown_of_a_kept_view_is_what_the_model_saw():
    model = awares_edge.scripted(["one", "two"])
    with model.open(IMAGE) as picture:
        seen = picture.first_view(picture.ask("What?"))
        renew(picture, painted((0, 0, 560, 448)), lambda *_: True)
        assert equal(picture.first_view(picture.ask("What?")), seen)
        assert picture.image.getpixel((0, 0)) == (255, 0, 0)


def test_the_comparison_is_with_what_was_computed_not_with_the_frame_before():
    shade = [Image.new("RGB", (560, 448), (value,) * 3) for value in (100, 104, 108, 112)]

    def near(one, other):
        return abs(one.getpixel((0, 0))[0] - other.getpixel((0, 0))[0]) <= 8

    model = awares_edge.scripted(["a", "b", "c", "d"])
    with model.open(shade[0]) as picture:
        kept = []
        picture.ask("What?")
        for image in shade[1:]:
            kept.append("low" in renew(picture, image, near).views)
            picture.ask("What?")
        assert kept == [True, True, False]


def test_the_conversation_is_forgotten():
    model = awares_edge.scripted([CALL, "42", CALL, "43"])
    with model.open(IMAGE) as picture:
        picture.ask("What?")
        renew(picture, IMAGE.copy())
        answer = picture.ask("What?", AskOptions(follow_up=True))
        assert answer.text == "43"  # the region is not in context: it is sent again
        assert answer.policies == ()


def test_a_region_inside_another_is_computed_again():
    model = awares_edge.scripted([CALL, CALL, "42", CALL, CALL, "42"])
    options = AskOptions(mode="progressive")
    with model.open(IMAGE) as picture:
        first = picture.ask("What?", options)
        assert not renew(picture, IMAGE.copy()).holds(first)
        second = picture.ask("What?", options)
        assert [turn.reused_regions for turn in second.turns] == [0, 1, 0]


def test_a_picture_of_another_size_is_refused_and_nothing_changes():
    model = awares_edge.scripted(["one", "two"])
    with model.open(IMAGE) as picture:
        picture.ask("What?")
        with pytest.raises(ImageError, match="560 x 448: open it instead"):
            picture.compare(Image.new("RGB", (448, 560)), equal)
        assert picture.ask("What?").text == "two"
        assert model.runtime.images == [(8, 10)]


def test_a_closed_or_busy_picture_is_refused():
    model = awares_edge.scripted(["one"])
    picture = model.open(IMAGE)
    stream = picture.stream("What?")
    next(stream)
    with pytest.raises(SessionError, match="answering another question"):
        picture.compare(IMAGE, equal)
    stream.close()
    picture.close()
    with pytest.raises(SessionError, match="closed"):
        picture.compare(IMAGE, equal)
