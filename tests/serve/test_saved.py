"""Saved pictures: found again after a restart by what they were computed from, by nothing else."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import awares_edge
from awares_edge.errors import InputError
from awares_edge.runtimes.null import NullRuntime
from awares_edge.serve.images import ImageData, make_sheet
from awares_edge.serve.saved import SavedPictures
from awares_edge.serve.store import PictureStore
from tests.serve.support import encoded, picture


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kv"


def scripted(protocol="paper", identity="a", context=32_768):
    model = awares_edge.scripted(["a"] * 20, protocol=protocol, context=context)
    model.identity = lambda: identity
    return model


def run(folder, *seeds, model=None, size=(448, 336), fail=False, most_bytes=1 << 30, **changed):
    """Start, ask about pictures, and stop: how many tokens of each were there already, and how many
    files were loaded, written and discarded.

    Args:
        changed: attributes of the runtime to set.
    """
    reused = []
    with model or scripted() as model:
        for name, value in changed.items():
            setattr(model.runtime, name, value)
        saved = SavedPictures(model, folder, most_bytes)
        store = PictureStore(model, most=8, most_bytes=1 << 30, cell_bytes=1000, saved=saved)
        for seed in seeds:
            data = ImageData((encoded(picture(seed, size)),), str(seed))
            with store.borrow(data.digest, lambda data=data: make_sheet(data, 10**8)) as kept:
                answer = kept.picture.ask("What?")
                if fail:
                    break
                store.answered(kept, answer)
            reused.append(answer.turns[0].reused_tokens)
        store.close()
        return reused, dict(saved.counts)


def ask(folder, *seeds, **more):
    """How many tokens of each picture were there already."""
    return run(folder, *seeds, **more)[0]


def files(folder):
    return sorted(folder.iterdir())


class TestFound:
    def test_after_a_restart(self, folder):
        (cold,), counts = run(folder, 0)
        assert counts == {"loaded": 0, "written": 1, "discarded": 0}
        (warm,), counts = run(folder, 0)
        assert warm > cold
        assert counts == {"loaded": 1, "written": 0, "discarded": 0}

    def test_not_for_another_picture(self, folder):
        cold = ask(folder, 0)
        assert ask(folder, 1) == cold

    def test_not_for_other_pixels_of_the_same_file(self, folder):
        """As where another version decodes or lays out pictures differently."""
        cold = ask(folder, 0)
        assert ask(folder, 0, size=(336, 448)) == cold
        assert len(files(folder)) == 2

    @pytest.mark.parametrize("protocol", ["readme", "evaluator"])
    def test_not_under_another_profile(self, folder, tmp_path, protocol):
        ask(folder, 0)
        cold = ask(tmp_path / "other", 0, model=scripted(protocol))
        assert ask(folder, 0, model=scripted(protocol)) == cold

    def test_not_under_one_that_differs_in_one_number(self, folder):
        cold = ask(folder, 0)
        model = scripted()
        model.protocol = replace(model.protocol, max_pixels=model.protocol.max_pixels - 1)
        assert ask(folder, 0, model=model) == cold

    def test_not_for_another_model(self, folder):
        cold = ask(folder, 0)
        assert ask(folder, 0, model=scripted(identity="b")) == cold

    @pytest.mark.parametrize(
        ("what", "value"), [("saving", "scripted 2"), ("precision", "fp16"), ("device", "cuda:0")]
    )
    def test_not_for_another_runtime(self, folder, what, value):
        cold = ask(folder, 0)
        assert ask(folder, 0, **{what: value}) == cold
        assert ask(folder, 0, **{what: value}) > cold

    def test_not_where_the_context_is_too_short(self, folder):
        cold = ask(folder, 0)
        (cells,) = ask(folder, 0)
        short = scripted(context=cells - 1)
        with pytest.raises(awares_edge.ContextOverflow):
            ask(folder, 0, model=short)
        assert ask(folder, 0) == cold


class TestKept:
    def test_a_failed_question_is_not_saved(self, folder):
        ask(folder, 0, fail=True)
        assert files(folder) == []

    def test_one_that_fails_later_is_removed(self, folder):
        ask(folder, 0)
        ask(folder, 0, fail=True)
        assert files(folder) == []

    def test_what_was_saved_is_not_written_again(self, folder):
        assert run(folder, 0, 0, 0)[1]["written"] == 1

    def test_the_folder_and_its_files_are_private(self, folder):
        before = os.umask(0o022)
        ask(folder, 0)
        os.umask(before)
        (file,) = files(folder)
        assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
        assert file.name.endswith(".kv")

    def test_the_least_recently_used_is_removed_first(self, folder):
        ask(folder, 0)
        (first,) = files(folder)
        most = 2 * first.stat().st_size + 100
        ask(folder, 1)
        for age, file in enumerate(sorted(files(folder), key=lambda file: file != first)):
            os.utime(file, (1000 + age, 1000 + age))
        ask(folder, 0, most_bytes=most)  # used: no longer the oldest
        ask(folder, 2, most_bytes=most)
        assert first in files(folder)
        assert len(files(folder)) == 2
        assert sum(file.stat().st_size for file in files(folder)) <= most

    def test_what_a_killed_process_left_counts_and_goes_first(self, folder):
        ask(folder, 0)
        (file,) = files(folder)
        left = folder / ".awares-edge.0123456789ab.tmp"
        left.write_bytes(bytes(file.stat().st_size))
        os.utime(left, (1000, 1000))
        ask(folder, 1, most_bytes=2 * file.stat().st_size + 100)
        assert left not in files(folder)
        assert len(files(folder)) == 2

    def test_a_smaller_bound_holds_from_the_start(self, folder):
        ask(folder, 0, 1, 2)
        assert len(files(folder)) == 3
        ask(folder, most_bytes=files(folder)[0].stat().st_size + 100)
        assert len(files(folder)) == 1

    def test_other_files_are_left_alone(self, folder):
        folder.mkdir(mode=0o700)
        (folder / "mine.txt").write_bytes(bytes(10_000))
        ask(folder, 0, 1, most_bytes=1)
        assert [file.name for file in files(folder)] == ["mine.txt"]

    def test_one_that_is_larger_than_all_may_be_is_answered_and_not_written(self, folder, caplog):
        ask(folder, 0, 1, most_bytes=1000)
        assert files(folder) == []
        assert len(caplog.records) == 1

    def test_too_many_that_wait_are_not_written(self, folder, monkeypatch):
        """Answers do not wait for the disk. What was not written is when it is used again."""
        go, write, close = threading.Event(), SavedPictures._write, SavedPictures.close
        with monkeypatch.context() as patch:
            patch.setattr(SavedPictures, "_write", lambda *args: (go.wait(60), write(*args)))
            patch.setattr(SavedPictures, "close", lambda saved: (go.set(), close(saved)))
            ask(folder, 0, 1, 2, 3)
        assert len(files(folder)) == 2
        ask(folder, 3)
        assert len(files(folder)) == 3


def damaged(content, how):
    half = len(content) // 2
    return {
        "empty": b"",
        "truncated": content[:half],
        "longer": content + b"\0",
        "a flipped bit": content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
        "not ours": b"x" * len(content),
    }[how]


class TestNotUsed:
    """A file that is not as it was written: removed, said once, and the picture computed anew."""

    @pytest.mark.parametrize("how", ["empty", "truncated", "longer", "a flipped bit", "not ours"])
    def test_damaged(self, folder, how, caplog):
        cold = ask(folder, 0)
        (file,) = files(folder)
        content = file.read_bytes()
        file.write_bytes(damaged(content, how))
        counts = {"loaded": 0, "written": 1, "discarded": 1}
        assert run(folder, 0) == (cold, counts)
        assert len(caplog.records) == 1
        assert file.read_bytes() == content

    def test_of_another_picture_under_this_name(self, folder):
        cold = ask(folder, 0, 1)[:1]
        one, two = files(folder)
        content = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)
        assert ask(folder, 0) == cold

    def test_of_another_user(self, folder, monkeypatch):
        cold = ask(folder, 0)
        (file,) = files(folder)
        status = os.fstat

        class Foreign:
            def __init__(self, number):
                self.st_mode, self.st_size = status(number).st_mode, status(number).st_size
                self.st_uid = os.getuid() + 1

        monkeypatch.setattr(os, "fstat", Foreign)
        with scripted() as model:
            saved = SavedPictures(model, folder, 1 << 30)
            with model.open(picture(0)) as opened:
                assert not saved.restore(saved.key("0", opened.image), opened)
            saved.close()
        assert not file.exists()
        monkeypatch.undo()
        assert ask(folder, 0) == cold

    def test_writable_by_others(self, folder):
        cold = ask(folder, 0)
        (file,) = files(folder)
        file.chmod(0o620)
        reused, counts = run(folder, 0)
        assert (reused, counts["discarded"]) == (cold, 1)

    @pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
    def test_something_other_than_a_file(self, folder, tmp_path, kind):
        cold = ask(folder, 0)
        (file,) = files(folder)
        aside = file.rename(tmp_path / "aside")
        if kind == "link":
            file.symlink_to(aside)
        elif kind == "pipe":
            os.mkfifo(file)
        else:
            file.mkdir()
        assert ask(folder, 0) == cold

    @pytest.mark.parametrize("error", [MemoryError(), awares_edge.RuntimeUnavailable("no room")])
    def test_for_lack_of_memory(self, folder, monkeypatch, error):
        """Which is no fault of the file: it stays."""
        cold = ask(folder, 0)

        def no_room(*_):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(NullRuntime, "restore", no_room)
            reused, counts = run(folder, 0)
        assert (reused, counts["discarded"]) == (cold, 0)
        assert ask(folder, 0) > cold

    def test_a_folder_that_others_can_write_to_by_now(self, folder):
        cold = ask(folder, 0)
        with scripted() as model:
            saved = SavedPictures(model, folder, 1 << 30)
            folder.chmod(0o770)
            with model.open(picture(0)) as opened:
                assert not saved.restore(saved.key("0", opened.image), opened)
            saved.close()
        folder.chmod(0o700)
        assert ask(folder, 0) == cold

    def test_a_folder_that_is_gone(self, folder):
        cold = ask(folder, 0)
        with scripted() as model:
            saved = SavedPictures(model, folder, 1 << 30)
            folder.rename(folder.with_name("elsewhere"))
            store = PictureStore(model, most=0, most_bytes=0, cell_bytes=1, saved=saved)
            data = ImageData((encoded(picture(0)),), "0")
            with store.borrow("0", lambda: make_sheet(data, 10**8)) as kept:
                answer = kept.picture.ask("What?")
                store.answered(kept, answer)
            store.close()
        assert [answer.turns[0].reused_tokens] == cold


class TestRefused:
    def test_a_runtime_that_cannot_save(self, folder, monkeypatch):
        monkeypatch.setattr(NullRuntime, "saving", "")
        with scripted() as model, pytest.raises(InputError, match="the runtime null cannot save"):
            SavedPictures(model, folder, 1)

    def test_a_model_that_is_known_by_no_hash(self, folder):
        with awares_edge.scripted() as model, pytest.raises(InputError, match="loaded from files"):
            SavedPictures(model, folder, 1)

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
    def test_a_folder_that_others_can_write_to(self, folder, mode):
        folder.mkdir()
        folder.chmod(mode)
        with scripted() as model, pytest.raises(InputError, match="chmod 700"):
            SavedPictures(model, folder, 1)

    @pytest.mark.parametrize("under", ["", "inside"])
    def test_a_file_in_its_place(self, folder, under):
        folder.write_bytes(b"")
        with scripted() as model, pytest.raises(InputError, match=str(Path(folder).name)):
            SavedPictures(model, folder / under, 1)
