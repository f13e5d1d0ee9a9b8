"""A loaded model: opens pictures to ask about."""

from __future__ import annotations

import threading

from awares_edge.controller.loop import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.controller.trace import Answer
from awares_edge.protocol.calls import CallTokens
from awares_edge.protocol.profiles import ProtocolProfile
from awares_edge.protocol.prompt import PromptBuilder, check_question
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer
from awares_edge.runtimes.base import Runtime, Session, TextSegment
from awares_edge.vision.load import ImageSource
from awares_edge.vision.patches import Preprocessing


class Model:
    """A model, its tokenizer and its protocol. Safe to share between threads.

    Attributes:
        runtime: what computes.
        protocol: the profile in force.
        preprocessing: how pixels become patches.
    """

    def __init__(
        self,
        runtime: Runtime,
        tokenizer: TextTokenizer,
        special: SpecialTokens,
        protocol: ProtocolProfile,
        preprocessing: Preprocessing,
    ) -> None:
        self.runtime = runtime
        self.tokenizer = tokenizer
        self.special = special
        self.protocol = protocol
        self.preprocessing = preprocessing
        self.prompt = PromptBuilder(tokenizer, special, protocol)
        self.call = CallTokens.build(tokenizer, special, protocol)
        self._system: Session | None = None
        self._lock = threading.Lock()

    def open(self, image: ImageSource) -> Picture:
        """Load a picture to ask several questions about; its KV is computed once and kept.

        Raises:
            ImageError: it cannot be used.
        """
        return Picture(self, image)

    def ask(self, image: ImageSource, question: str, options: AskOptions | None = None) -> Answer:
        """Ask one question about one picture.

        Raises:
            ImageError, QuestionError: the input cannot be used.
            ContextOverflow: picture and question do not fit into the context.
            Interrupted: the deadline passed or the caller cancelled.
        """
        check_question(question)
        with self.open(image) as picture:
            return picture.ask(question, options)

    def open_session(self) -> Session:
        """A session that holds the system prompt, computed once per model where sessions fork."""
        if not self.runtime.capabilities.fork:
            return self._prefilled()
        with self._lock:
            if self._system is None:
                self._system = self._prefilled()
            return self._system.fork()

    def _prefilled(self) -> Session:
        session = self.runtime.open_session()
        session.prefill([TextSegment(self.prompt.system())])
        return session

    def close(self) -> None:
        """Give all memory back. Pictures of this model must not be used any more."""
        with self._lock:
            if self._system is not None:
                self._system.close()
                self._system = None
        self.runtime.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
