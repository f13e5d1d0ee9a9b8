"""One suite for every runtime that computes: what the controller may rely on.

A runtime joins by adding a loader to `LOADERS`; all of them read the same tiny random checkpoint.
`pytest tests/runtimes/test_conformance.py --device cuda` computes on a GPU.
"""

import threading

import numpy as np
import pytest
from PIL import Image

from awares_edge import AskOptions
from awares_edge.errors import ContextOverflow, DeadlineExceeded, SessionError
from awares_edge.protocol import Request
from awares_edge.protocol.regions import locate
from awares_edge.runtimes.base import ImageSegment, SavedSession, TextSegment
from awares_edge.vision import Preprocessing, extract_patches
from tests.support.models import LOADERS, Loaded

TEXT = TextSegment((5, 6, 7, 8, 9))
MORE = TextSegment((20, 21, 22))


@pytest.fixture(scope="module", params=LOADERS)
def loaded(request, tmp_path_factory) -> Loaded:
    with LOADERS[request.param](tmp_path_factory, request.config.getoption("device")) as loaded:
        yield loaded


@pytest.fixture
def session(loaded):
    with loaded.model.runtime.open_session() as session:
        yield session


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(loaded, width=56, height=84, seed=0):
    patches = extract_patches(
        noise(width, height, seed), Preprocessing(), min_pixels=3136, max_pixels=200_000
    )
    return ImageSegment(loaded.model.runtime.encode_image(patches))


class TestSession:
    def test_logits_are_float32_rows_of_the_vocabulary(self, loaded, session):
        logits = session.prefill([TEXT], keep_logits=3)
        assert logits.dtype == np.float32
        assert logits.shape == (3, loaded.model.runtime.vocabulary)
        assert np.isfinite(logits).all()
        assert session.decode(4).shape == (loaded.model.runtime.vocabulary,)

    def test_cells_and_positions_are_counted_apart(self, loaded, session):
        session.prefill([TEXT, encoded(loaded), MORE])
        assert session.cells == 5 + 2 * 3 + 3
        assert session.position == 5 + 3 + 3

    def test_in_pieces_or_at_once_is_the_same(self, loaded, session):
        image = encoded(loaded)
        whole = session.prefill([TEXT, image, MORE], keep_logits=3)
        with loaded.model.runtime.open_session() as other:
            other.prefill([TEXT])
            other.prefill([image])
            pieces = np.stack([other.decode(token) for token in MORE.ids])
        loaded.assert_same(pieces, whole)

    def test_an_image_appended_to_a_live_cache_is_as_if_it_had_always_been_there(
        self, loaded, session
    ):
        first, second = encoded(loaded, 84, 56, 1), encoded(loaded, 112, 140, 2)
        session.prefill([TEXT, first, MORE])
        session.decode(30)
        cached = session.prefill([TEXT, second, MORE], keep_logits=3)
        history = [TEXT, first, MORE, TextSegment((30,)), TEXT, second, MORE]
        with loaded.model.runtime.open_session() as other:
            scratch = other.prefill(history, keep_logits=3)
        loaded.assert_same(cached, scratch)

    def test_four_appended_turns_are_as_one_prefill(self, loaded, session):
        """Each turn: text, a picture, text, then tokens one by one, as a conversation grows."""
        history = []
        for turn, (width, height) in enumerate([(84, 56), (112, 140), (56, 84), (140, 112)]):
            said = tuple(range(30 + 4 * turn, 33 + 4 * turn))
            segments = [TEXT, encoded(loaded, width, height, turn), MORE]
            session.prefill(segments)
            appended = np.stack([session.decode(token) for token in said])
            history += [*segments, TextSegment(said)]
            with loaded.model.runtime.open_session() as other:
                scratch = other.prefill(history, keep_logits=len(said))
                assert (other.cells, other.position) == (session.cells, session.position)
            loaded.assert_same(appended, scratch)

    def test_pictures_matter(self, loaded, session):
        start = session.mark()
        one = session.prefill([encoded(loaded, seed=1), TEXT])
        session.rewind(start)
        two = session.prefill([encoded(loaded, seed=2), TEXT])
        assert np.abs(one - two).max() > 100 * loaded.tolerance * one.std()

    def test_rewinding_forgets(self, loaded, session):
        session.prefill([TEXT])
        mark = session.mark()
        first = session.prefill([MORE])
        session.prefill([encoded(loaded), TEXT])
        session.rewind(mark)
        assert (session.cells, session.position) == (mark.cells, mark.position)
        loaded.assert_same(session.prefill([MORE]), first)

    def test_rewinding_into_an_appended_text_keeps_its_beginning(self, loaded, session):
        mark = session.mark()
        rows = session.prefill([TEXT], keep_logits=5)
        session.rewind(mark.after_text(3))
        loaded.assert_same(session.decode(TEXT.ids[3]), rows[3])

    def test_a_fork_is_equal_and_then_goes_its_own_way(self, loaded, session):
        session.prefill([TEXT, encoded(loaded)])
        fork = session.fork()
        assert (fork.cells, fork.position) == (session.cells, session.position)
        expected = session.prefill([MORE])
        session.decode(40)
        loaded.assert_same(fork.prefill([MORE]), expected)
        fork.close()
        session.decode(41)

    def test_a_fork_outlives_the_session_it_was_made_from(self, loaded):
        parent = loaded.model.runtime.open_session()
        parent.prefill([TEXT, encoded(loaded)])
        with parent.fork() as fork:
            expected = parent.prefill([MORE])
            parent.close()
            loaded.assert_same(fork.prefill([MORE]), expected)
            with fork.fork() as again:
                loaded.assert_same(again.decode(9), fork.decode(9))
        with pytest.raises(SessionError, match="closed"):
            parent.fork()

    def test_sessions_do_not_see_each_other(self, loaded, session):
        expected = [session.prefill([TEXT])[0], session.decode(3)]
        with (
            loaded.model.runtime.open_session() as one,
            loaded.model.runtime.open_session() as two,
        ):
            two.prefill([MORE])
            loaded.assert_same(one.prefill([TEXT])[0], expected[0])
            two.decode(9)
            loaded.assert_same(one.decode(3), expected[1])

    def test_overflow_is_an_error_and_changes_nothing(self, loaded):
        with loaded.model.runtime.open_session(context=64) as session:
            first = session.prefill([TEXT])
            with pytest.raises(ContextOverflow, match="context of 64"):
                session.prefill([TextSegment(tuple(range(4, 64)))])
            assert session.cells == 5
            session.rewind(session.mark())
            with loaded.model.runtime.open_session() as other:
                loaded.assert_same(other.prefill([TEXT]), first)
                loaded.assert_same(session.decode(9), other.decode(9))

    def test_wrong_use_is_an_error(self, session):
        with pytest.raises(SessionError, match="logits of 1 of 0"):
            session.prefill([])
        with pytest.raises(SessionError, match="logits of 9 of 5"):
            session.prefill([TEXT], keep_logits=9)
        session.prefill([TEXT])
        future = session.mark()
        session.rewind(type(future)(0, 0))
        with pytest.raises(SessionError, match="cannot rewind"):
            session.rewind(future)
        session.close()
        session.close()
        with pytest.raises(SessionError, match="closed"):
            session.prefill([TEXT])

    def test_threads_compute_the_same(self, loaded):
        image = encoded(loaded)
        with loaded.model.runtime.open_session() as session:
            expected = session.prefill([TEXT, image, MORE])
        results = []

        def work():
            with loaded.model.runtime.open_session() as own:
                results.append(own.prefill([TEXT, image, MORE]))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 4
        for result in results:
            loaded.assert_same(result, expected)


class TestSaving:
    """A session as arrays on the host. What they are put into may be another process's."""

    @pytest.fixture(autouse=True)
    def can_save(self, loaded):
        if not loaded.model.runtime.saving:
            pytest.skip("this runtime cannot save sessions")

    def test_a_restored_session_goes_on_exactly(self, loaded, session):
        session.prefill([TEXT, encoded(loaded), MORE])
        saved = session.save()
        expected = [session.prefill([MORE])[0], session.decode(9)]
        with loaded.model.runtime.restore(saved) as other:
            assert (other.cells, other.position) == (saved.mark.cells, saved.mark.position)
            assert other.context == loaded.model.runtime.context
            for ours, theirs in zip(
                [other.prefill([MORE])[0], other.decode(9)], expected, strict=True
            ):
                loaded.assert_same(ours, theirs)

    def test_what_was_saved_is_a_copy(self, loaded, session):
        session.prefill([TEXT, encoded(loaded)])
        mark, saved = session.mark(), session.save()
        expected = session.prefill([MORE])
        session.rewind(type(mark)(0, 0))
        session.prefill([encoded(loaded, seed=3), MORE, TEXT])
        session.close()
        for _ in range(2):
            with loaded.model.runtime.restore(saved) as other:
                loaded.assert_same(other.prefill([MORE]), expected)

    def test_a_restored_session_rewinds_and_forks(self, loaded, session):
        session.prefill([TEXT])
        mark = session.mark()
        after_text = session.prefill([encoded(loaded), MORE])
        with loaded.model.runtime.restore(session.save()) as other:
            with other.fork() as fork:
                loaded.assert_same(fork.decode(9), session.decode(9))
            other.rewind(mark)
            loaded.assert_same(other.prefill([encoded(loaded), MORE]), after_text)

    def test_an_empty_session_is_saved_as_one(self, loaded, session):
        with loaded.model.runtime.restore(session.save()) as other:
            loaded.assert_same(other.prefill([TEXT]), session.prefill([TEXT]))

    def test_one_that_is_longer_than_the_context_is_refused(self, loaded, session):
        session.prefill([TEXT, MORE])
        saved = session.save()
        with pytest.raises(ContextOverflow, match="8 tokens exceeds the context of 7"):
            loaded.model.runtime.restore(saved, context=7)
        with (
            loaded.model.runtime.restore(saved, context=9) as other,
            pytest.raises(ContextOverflow, match="context of 9"),
        ):
            other.prefill([MORE])

    def test_one_of_another_shape_or_dtype_is_refused(self, loaded, session):
        session.prefill([TEXT])
        saved = session.save()
        longer = type(saved)(saved.mark.after_text(1), saved.arrays)
        others = [type(saved)(saved.mark, {}), longer]
        for name, array in saved.arrays.items():
            for changed in (array[..., None], array.astype(np.float64)):
                others.append(type(saved)(saved.mark, {**saved.arrays, name: changed}))
        for other in others:
            with pytest.raises(SessionError, match="of another model"):
                loaded.model.runtime.restore(other)

    def test_a_closed_session_is_not_saved(self, session):
        session.prefill([TEXT])
        session.close()
        with pytest.raises(SessionError, match="closed"):
            session.save()


def test_a_runtime_that_cannot_save_says_so(loaded, session):
    if loaded.model.runtime.saving:
        pytest.skip("this runtime can")
    session.prefill([TEXT])
    with pytest.raises(SessionError, match="cannot save"):
        session.save()
    with pytest.raises(SessionError, match="cannot restore"):
        loaded.model.runtime.restore(SavedSession(session.mark(), {}))


class TestLoop:
    """The whole question, with crops that a random model would not ask for by itself."""

    def test_a_cached_second_turn_answers_as_one_from_scratch(self, loaded):
        image = noise(300, 220)
        options = AskOptions(crops=("3", "5"), max_new_tokens=6)
        model = loaded.model
        with model.open(image) as picture:
            kept = picture.ask("What is it?", options)
            views, trace = picture.views, kept.turns[0]
            regions = [
                locate(model.protocol, Request(i), [views.source.size], views.size("low"))
                for i in ("3", "5")
            ]
            encoded = [views.encode(views.show(region, []), trace) for region in regions]
            low = views.encode_view("low", trace)
        prompt = model.prompt
        opening, between, closing = prompt.reply([region.size for region in regions])
        history = [
            TextSegment(prompt.system() + prompt.open_picture()),
            ImageSegment(low),
            TextSegment(
                prompt.ask("What is it?")
                + tuple(model.tokenizer.encode("GET_CROPS: ['3', '5']"))
                + opening
            ),
            ImageSegment(encoded[0]),
            TextSegment(between),
            ImageSegment(encoded[1]),
            TextSegment(closing),
        ]
        with model.runtime.open_session() as session:
            logits = session.prefill(history)[0]
            assert session.cells == kept.turns[1].reused_tokens + kept.turns[1].prefill_tokens
            ids = []
            for _ in range(6):
                token = int(logits.argmax())
                if token in model.special.eos:
                    break
                ids.append(token)
                logits = session.decode(token)
        assert kept.text == model.tokenizer.decode(ids).strip()

    def test_a_question_asked_again_is_answered_alike_cold_or_warm(self, loaded):
        image, options = noise(240, 240, 5), AskOptions(max_new_tokens=5)
        cold = loaded.model.ask(image, "Which?", options)
        with loaded.model.open(image) as picture:
            first = picture.ask("Which?", options)
            picture.ask("And the other?", AskOptions(crops=("0",), max_new_tokens=3))
            again = picture.ask("Which?", options)
        assert cold.text == first.text == again.text
        assert again.turns[0].prefill_tokens == len(loaded.model.prompt.ask("Which?"))

    def test_a_follow_up_answers_as_a_conversation_from_scratch(self, loaded):
        """Three questions, two of them with a crop: the last answer is that of one prefill."""
        image, model, asked = noise(300, 220), loaded.model, ("What?", "And there?", "Which?")
        with model.open(image) as picture:
            for question, crops in zip(asked, [("3",), (), ("5",)], strict=True):
                options = AskOptions(crops=crops, max_new_tokens=6, follow_up=True)
                answer = picture.ask(question, options)
            low = picture.views.encode_view("low", answer.turns[0])
            first, second, third = picture.views.transcript("low", answer.turns[0]).exchanges
        prompt = model.prompt
        opening = TextSegment(prompt.system() + prompt.open_picture())
        history = [opening, ImageSegment(low), TextSegment(prompt.ask(asked[0])), *first.segments]
        for before, exchange in [(first, second), (second, third)]:
            text = prompt.follow_up(exchange.question)[1 if before.ended else 0 :]
            history += [TextSegment(before.pending + text), *exchange.segments]
        # What the last turn said is chosen again, behind everything that stands before it.
        said = (*history.pop().ids, *third.pending)
        assert len(said) == 6
        with model.runtime.open_session() as session:
            logits = session.prefill(history)[0]
            for token in said:
                assert int(logits.argmax()) == token
                logits = session.decode(token)

    def test_a_deadline_leaves_the_picture_usable(self, loaded):
        with loaded.model.open(noise(240, 240, 6)) as picture:
            expected = picture.ask("Which?", AskOptions(max_new_tokens=4)).text
            with pytest.raises(DeadlineExceeded):
                picture.ask("Which?", AskOptions(timeout=1e-9))
            assert picture.ask("Which?", AskOptions(max_new_tokens=4)).text == expected

    @pytest.mark.parametrize("mode", ["full", "low"])
    def test_baselines_run(self, loaded, mode):
        answer = loaded.model.ask(noise(240, 240), "?", AskOptions(mode=mode, max_new_tokens=3))
        assert answer.mode == mode
        assert answer.crops == ()


@pytest.fixture(params=LOADERS)
def short_lived(request, tmp_path_factory) -> Loaded:
    """A model of its own, to be closed."""
    with LOADERS[request.param](tmp_path_factory, request.config.getoption("device")) as loaded:
        yield loaded


def test_closing_a_model_closes_its_sessions_and_pictures(short_lived):
    model = short_lived.model
    picture, options = model.open(noise(240, 240)), AskOptions(max_new_tokens=3)
    picture.ask("Which?", options)
    stream = picture.stream("Which?", options)
    next(stream)
    session = model.open_session()
    model.close()
    model.close()
    for use in (
        lambda: session.decode(5),
        session.fork,
        lambda: session.rewind(session.mark()),
        model.open_session,
        lambda: list(stream),
        lambda: picture.ask("Which?"),
        lambda: model.ask(noise(9, 9), "Which?"),
    ):
        with pytest.raises(SessionError, match="is closed"):
            use()
    session.close()
    picture.close()


def test_a_model_may_be_closed_while_threads_ask(short_lived):
    """Every question ends: with its answer, or with an error that says why not."""
    model, started, outcomes = short_lived.model, threading.Barrier(4), []

    def ask():
        try:
            started.wait(30)
            for seed in range(50):
                model.ask(noise(120, 120, seed), "Which?", AskOptions(max_new_tokens=3))
        except SessionError as error:
            outcomes.append(str(error))
        except BaseException as error:
            outcomes.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait(30)
    model.close()
    for thread in threads:
        thread.join()
    assert outcomes == ["this model is closed: load it again"] * 3
