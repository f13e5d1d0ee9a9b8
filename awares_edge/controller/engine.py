"""A loaded model and what every question needs of it: tokenizer, prompt, system prompt's cache."""

from __future__ import annotations

import threading

from awares_edge.protocol.calls import CallTokens
from awares_edge.protocol.profiles import ProtocolProfile
from awares_edge.protocol.prompt import PromptBuilder
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer
from awares_edge.runtimes.base import Runtime, Session, TextSegment
from awares_edge.vision.patches import Preprocessing


class Engine:
    """A runtime, its tokenizer and its protocol. Safe to share between threads.

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

    def open_session(self) -> Session:
        """A session that holds the system prompt, which is computed once per model."""
        with self._lock:
            if self._system is None:
                self._system = self._prefilled()
            return self._system.fork()

    def _prefilled(self) -> Session:
        session = self.runtime.open_session()
        try:
            session.prefill([TextSegment(self.prompt.system())])
        except BaseException:
            session.close()
            raise
        return session

    def close(self) -> None:
        """Give all memory back. What was opened from here must not be used any more."""
        with self._lock:
            if self._system is not None:
                self._system.close()
                self._system = None
        self.runtime.close()
