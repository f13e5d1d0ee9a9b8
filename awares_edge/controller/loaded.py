"""A loaded model and what every question needs of it: tokenizer, prompt, system prompt's cache."""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakSet

from awares_edge.controller.askable import About
from awares_edge.controller.gate import Gate
from awares_edge.protocol.calibration import NOT_CALIBRATED, Calibration
from awares_edge.protocol.call import CallTokens
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.prompt import PromptBuilder
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer
from awares_edge.runtimes.base import Runtime, SavedSession, Session, TextSegment
from awares_edge.vision.patches import Preprocessing


class LoadedModel:
    """A runtime, its tokenizer and its protocol. Safe to share between threads.

    Attributes:
        runtime: what computes.
        protocol: the profile in force.
        preprocessing: how pixels become patches.
        calibration: what was fitted for this model; `NOT_CALIBRATED` where nothing was.
        cell_bytes: most memory of one KV cell; None where the model's shape is not known.
        identity: gives one hash over all that was loaded; None where that was no file.
        gate: open while the model may be used; each step of a question passes it.
    """

    def __init__(
        self,
        runtime: Runtime,
        tokenizer: TextTokenizer,
        special: SpecialTokens,
        protocol: ProtocolProfile,
        preprocessing: Preprocessing,
        calibration: Calibration = NOT_CALIBRATED,
        cell_bytes: int | None = None,
        identity: Callable[[], str] | None = None,
    ) -> None:
        self.runtime = runtime
        self.tokenizer = tokenizer
        self.special = special
        self.protocol = protocol
        self.preprocessing = preprocessing
        self.calibration = calibration
        self.cell_bytes = cell_bytes
        self.identity = identity
        self.prompt = PromptBuilder(tokenizer, special, protocol)
        self.call = CallTokens.build(tokenizer, special, protocol.call)
        self.gate = Gate("this model is closed: load it again")
        self._system: Session | None = None
        self._sessions: WeakSet[Session] = WeakSet()
        self._lock = threading.Lock()

    @property
    def about(self) -> About:
        """What computes, in which precision, and where."""
        return About(self.runtime.name, self.runtime.precision, self.runtime.device)

    def open_session(self) -> Session:
        """A session that holds the system prompt, which is computed once per model.

        Raises:
            SessionError: the model is closed. Closing it closes this session too.
        """
        with self.gate, self._lock:
            if self._system is None:
                self._system = self._prefilled()
            session = self._system.fork()
            self._sessions.add(session)
            return session

    def restore_session(self, saved: SavedSession) -> Session:
        """A session that goes on from one of `open_session` that was saved.

        Raises:
            ContextOverflow: it is longer than the context.
            SessionError: it is of another model, or the runtime cannot restore sessions; or the
                model is closed. Closing it closes this session too.
        """
        with self.gate, self._lock:
            session = self.runtime.restore(saved)
            self._sessions.add(session)
            return session

    def _prefilled(self) -> Session:
        session = self.runtime.open_session()
        try:
            session.prefill([TextSegment(self.prompt.system())])
        except BaseException:
            session.close()
            raise
        return session

    def close(self) -> None:
        """Give all memory back. Closing twice is allowed.

        Waits for steps that other threads are computing; their questions end with `SessionError`.
        """
        if not self.gate.close():
            return
        try:
            for session in list(self._sessions):
                session.close()
            if self._system is not None:
                self._system.close()
                self._system = None
        finally:
            self.runtime.close()
