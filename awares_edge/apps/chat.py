"""`awares-edge chat`: a conversation about one picture."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from awares_edge.apps.console import note, show_answer, warn
from awares_edge.apps.options import (
    AbstainOption,
    BundleOption,
    ContextOption,
    DecisionBiasOption,
    DeviceOption,
    EndpointModel,
    EndpointUrl,
    MaxNewTokensOption,
    ModelOptions,
    ModeName,
    ModeOption,
    PictureArgument,
    ProtocolOption,
    RuntimeOption,
    ThreadsOption,
)
from awares_edge.apps.replies import follow, summarize
from awares_edge.controller.askable import OpenPicture
from awares_edge.controller.options import AskOptions
from awares_edge.controller.policies import Policies
from awares_edge.controller.trace import Answer, Mode
from awares_edge.errors import AwaresError, ContextOverflow, SessionError
from awares_edge.files import check_output
from awares_edge.vision.load import load_image

EPILOG = """
Type a question and press Enter. Lines that begin with a slash are commands:

    /save-view FILE   write a PNG of the last answer: the picture, what the model saw, its crops

    /forget           begin a new conversation about the picture

    /quit             end (or Ctrl-D); Ctrl-C interrupts an answer

Examples:

    awares-edge chat photo.jpg

    printf 'What is on the sign?\\nAnd below it?\\n' | awares-edge chat photo.jpg
"""

_COMMANDS = "/save-view FILE, /forget, /quit"


def chat(
    image: PictureArgument,
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    mode: ModeOption = ModeName.awares,
    protocol: ProtocolOption = None,
    decision_bias: DecisionBiasOption = None,
    abstain_below: AbstainOption = None,
    max_new_tokens: MaxNewTokensOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    endpoint: EndpointUrl = None,
    model_name: EndpointModel = None,
) -> None:
    """Talk about one picture: each question sees those before it, their answers and crops."""
    chosen_mode: Mode = mode.value
    options = AskOptions(
        mode=chosen_mode,
        max_new_tokens=max_new_tokens,
        follow_up=True,
        policies=Policies(abstain_below=abstain_below),
        decision_bias=decision_bias,
    )
    chosen = ModelOptions(bundle, runtime, protocol, device, threads, context, endpoint, model_name)
    pixels = load_image(image)
    with (
        chosen.open() as model,
        model.open(pixels) as picture,
    ):
        _Chat(picture, options).run()


class _Chat:
    """A conversation; `last` is its last question and answer."""

    def __init__(self, picture: OpenPicture, options: AskOptions) -> None:
        self.picture = picture
        self.options = options
        self.last: tuple[str, Answer] | None = None

    def run(self) -> None:
        for line in _lines():
            text = line.strip()
            if text == "/quit":
                return
            if not text:
                continue
            try:
                if text.startswith("/"):
                    self._obey(text)
                else:
                    self._ask(text)
            except (AwaresError, OSError) as error:
                if isinstance(error, SessionError) and not isinstance(error, ContextOverflow):
                    raise
                # The conversation is as it was: the user may try something else.
                warn(" ".join(str(error).split()))

    def _ask(self, question: str) -> None:
        try:
            with closing(self.picture.stream(question, self.options)) as stream:
                answer = follow(stream)
        except KeyboardInterrupt:
            show_answer("")
            note("interrupted: the conversation is as it was")
            return
        self.last = question, answer
        summarize(answer)

    def _obey(self, line: str) -> None:
        command, _, argument = line.partition(" ")
        if command == "/forget":
            self.picture.forget()
            self.last = None
            note("the conversation is forgotten")
        elif command == "/save-view" and argument.strip():
            self._save_view(Path(argument.strip()))
        else:
            warn(f"no command {line}: there are {_COMMANDS}")

    def _save_view(self, path: Path) -> None:
        from awares_edge.apps.view import answer_panel, save_png

        if self.last is None:
            warn("there is no answer yet: ask something first")
            return
        check_output(path)
        save_png(answer_panel(self.picture, *self.last), path)
        note(f"view written to {path}")


def _lines() -> Iterator[str]:
    """Lines that are typed, with a prompt and line editing, or that come through a pipe."""
    if sys.stdin is None:
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        # Undecodable bytes make the question invalid; the stream goes on.
        sys.stdin.reconfigure(errors="surrogateescape")
    prompt = ""
    if sys.stdin.isatty():
        # Importing it gives `input` line editing and a history, where it exists.
        with suppress(ImportError):
            import readline  # noqa: F401
        note(f"ask about the picture; commands: {_COMMANDS}")
        prompt = "> "
    while True:
        try:
            yield input(prompt)
        except EOFError:
            return
