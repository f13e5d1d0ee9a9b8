"""What can be asked about pictures: a model on this machine, or one behind an endpoint.

Cameras, evaluation, profiles and robots use these two interfaces and nothing below them. `Model`
and `Picture` satisfy them, and so do the classes of `awares_edge.remote`. Only what measures logits
or computes with the weights needs a `Model`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import Answer, Event
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.vision.load import ImageSource


@dataclass(frozen=True, slots=True)
class About:
    """What something that can be asked says about itself.

    Attributes:
        runtime: what computes, such as "onnx"; "endpoint" where a server does not say.
        precision: of the weights; "unknown" where a server does not say.
        device: where it computes; "unknown" where a server does not say.
        name: the model's name on its server; empty for a model on this machine.
        address: URL of its server, without credentials; empty for a model on this machine.
        server: what answers there: "awares-edge", "llama.cpp server", "vllm", ...; "endpoint" where
            it does not say; empty for a model on this machine.
    """

    runtime: str
    precision: str
    device: str
    name: str = ""
    address: str = ""
    server: str = ""


class OpenPicture(Protocol):
    """One picture that is asked about, one question at a time; `Picture` says more."""

    @property
    def image(self) -> Image.Image:
        """The upright RGB picture as loaded."""
        ...

    def first_view(self, answer: Answer) -> Image.Image:
        """What the model was shown first for this answer."""
        ...

    def ask(self, question: str, options: AskOptions | None = None) -> Answer:
        """Ask and wait for the answer."""
        ...

    def stream(
        self, question: str, options: AskOptions | None = None
    ) -> Generator[Event, None, None]:
        """Ask and follow: text as it comes, crops as they are chosen, and last the `Answer`.

        Closing the generator early cancels the question and leaves the picture usable.
        """
        ...

    def forget(self) -> None:
        """Forget the conversation; the picture stays open."""
        ...

    def close(self) -> None:
        """Give back what is kept for it. Closing twice is allowed."""
        ...

    def __enter__(self) -> OpenPicture: ...

    def __exit__(self, *exc: object) -> None: ...


class Askable(Protocol):
    """Something that answers questions about pictures. Safe to share between threads."""

    @property
    def protocol(self) -> ProtocolProfile:
        """The profile in force."""
        ...

    @property
    def about(self) -> About:
        """What it says about itself, for tables and records of a run."""
        ...

    def open(self, image: ImageSource) -> OpenPicture:
        """Load a picture to ask several questions about."""
        ...

    def ask(self, image: ImageSource, question: str, options: AskOptions | None = None) -> Answer:
        """Ask one question about one picture."""
        ...

    def close(self) -> None:
        """Give everything back. Closing twice is allowed."""
        ...

    def __enter__(self) -> Askable: ...

    def __exit__(self, *exc: object) -> None: ...
