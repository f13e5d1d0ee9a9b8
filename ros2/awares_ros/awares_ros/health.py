"""What the node says on /diagnostics."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from awares_edge import Askable, live
from awares_ros.messages import one_line
from awares_ros.newest import NewestPicture


@dataclass(slots=True)
class Health:
    """Counts and the last answer, by the events of the asker.

    Attributes:
        max_age: seconds after which pictures count as missing; 0 for never.
    """

    max_age: float
    last_ms: float | None = None
    last_error: str = ""

    def on_event(self, event: live.LiveEvent) -> None:
        """Remember the last ending; called with every event."""
        if isinstance(event, live.Answered):
            self.last_ms, self.last_error = event.answer.total_ms, ""
        elif type(event) is live.Failed:  # what was given up on purpose is no fault
            self.last_error = one_line(event.error)

    def message(
        self,
        name: str,
        stamp: Any,
        *,
        model: Askable,
        asker: live.LiveAsker | None,
        pictures: NewestPicture,
    ) -> Any:
        """A diagnostic_msgs/DiagnosticArray with one status.

        Args:
            name: of the node.
            stamp: builtin_interfaces/Time of now.
            asker: None while the node is inactive.
        """
        status = DiagnosticStatus()
        status.name, status.hardware_id = f"{name}: questions", model.about.device
        status.level, status.message = self._verdict(asker, pictures)
        about: dict[str, object] = {
            "runtime": model.about.runtime,
            "precision": model.about.precision,
            "pictures": pictures.received,
        }
        if asker is not None:
            about |= {"waiting": asker.waiting, "busy": asker.busy, **asker.counts()}
            about["dropped events"] = asker.dropped_events
        if self.last_ms is not None:
            about["last answer (ms)"] = round(self.last_ms, 1)
        if pictures.taken is not None:
            about["newest picture (s ago)"] = round(monotonic() - pictures.taken, 3)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in about.items()]
        message = DiagnosticArray()
        message.header.stamp = stamp
        message.status = [status]
        return message

    def _verdict(self, asker: live.LiveAsker | None, pictures: NewestPicture) -> tuple[Any, str]:
        if asker is None:
            return DiagnosticStatus.OK, "inactive"
        if self.last_error:
            return DiagnosticStatus.ERROR, self.last_error
        if pictures.taken is None:
            return DiagnosticStatus.WARN, "no picture has come yet"
        if self.max_age and monotonic() - pictures.taken > self.max_age:
            return DiagnosticStatus.WARN, "pictures have stopped"
        return DiagnosticStatus.OK, "answering"
