"""Every error a user can meet, in one tree.

    AwaresError
    ├── InputError            what the caller gave cannot be used
    │   ├── ImageError        a picture: missing, truncated, too large, too narrow, ...
    │   └── QuestionError     a question: empty, too long
    ├── CheckpointError       a Hugging Face folder: not Qwen2.5-VL, tensors missing, wrong shapes
    ├── ExportError           an export that cannot be made as asked
    ├── BundleError           a bundle: missing, corrupt, tampered with, of another version
    ├── CameraError           a camera: not there, lost, frozen, of a format that cannot be used
    ├── RuntimeUnavailable    a runtime or an extra that is not installed here
    ├── QueueFull             a live question too many: as many wait as may
    ├── EndpointError         a server that is asked: out of reach, refusing, or not answering right
    ├── SessionError          a session used wrongly: closed, rewound into its future
    │   └── ContextOverflow   more tokens than the KV cache holds
    └── Interrupted           an answer that was stopped; the session stays usable
        ├── Cancelled         by the caller
        ├── DeadlineExceeded  by the clock
        ├── FrameTooOld       a live question whose frame was too old when its turn came
        └── FrameSuperseded   a live question, by one about a newer frame

Each message is one line that says what to do. The command line prints it and exits with 2.
"""

from __future__ import annotations


class AwaresError(Exception):
    """Base of every error raised on purpose by awares-edge."""


class InputError(AwaresError, ValueError):
    """An argument from the caller cannot be used."""


class ImageError(InputError):
    """A picture cannot be read or must not be used."""


class QuestionError(InputError):
    """A question is empty or too long."""


class CheckpointError(AwaresError):
    """A checkpoint folder is not a complete Qwen2.5-VL checkpoint."""


class ExportError(AwaresError):
    """An export cannot be made as asked."""


class BundleError(AwaresError):
    """A bundle is missing, corrupt, tampered with, or of another format version."""


class CameraError(AwaresError):
    """A camera is not there, was lost, or sends what cannot be used."""


class RuntimeUnavailable(AwaresError):
    """A runtime, device or optional package is not usable here."""


class QueueFull(AwaresError):
    """As many live questions wait as may: ask again later."""


class EndpointError(AwaresError):
    """A server cannot be reached, refuses a request, or gives no usable answer."""


class SessionError(AwaresError):
    """A session was used in a way its state does not allow."""


class ContextOverflow(SessionError):
    """The KV cache has no room for what was to be appended; the session is unchanged."""


class Interrupted(AwaresError):
    """An answer was stopped before its end; the session stays usable.

    Attributes:
        partial: text generated up to the interruption.
    """

    def __init__(self, message: str, partial: str = "") -> None:
        super().__init__(message)
        self.partial = partial


class Cancelled(Interrupted):
    """The caller cancelled the question."""


class DeadlineExceeded(Interrupted):
    """The deadline passed before the answer was complete."""


class FrameTooOld(Interrupted):
    """A live question was not begun, because its frame was too old."""


class FrameSuperseded(Interrupted):
    """A live question was not begun, because one about a newer frame came."""
