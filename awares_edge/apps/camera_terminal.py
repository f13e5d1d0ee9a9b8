"""`awares-edge camera --terminal`: the answers as lines; questions are typed or stand."""

from __future__ import annotations

import io
import sys
import threading
from contextlib import suppress

from awares_edge.apps.console import err, note, print_json, printable, show_answer, warn
from awares_edge.camera.events import (
    Answered,
    Asked,
    Failed,
    Regions,
    StateChanged,
    StationEvent,
    Stats,
    Text,
    Thought,
    Unchanged,
)
from awares_edge.camera.exchange import Exchange
from awares_edge.camera.station import Station
from awares_edge.errors import AwaresError

_LOOK = 0.5  # seconds, so that Ctrl-C is seen
_HELP = "type a question; /more QUESTION asks about the same frame, /stop, /quit"


class Terminal:
    """Follows a station until it is asked to end.

    Args:
        count: answers after which it ends; None for no end.
        as_json: print one JSON object an event, and nothing else on stdout.
    """

    def __init__(self, station: Station, *, count: int | None, as_json: bool) -> None:
        self._station, self._count, self._as_json = station, count, as_json
        self._ended = threading.Event()
        self._answers = 0
        self._shown_state = ("", "")
        self._note = ""
        self._unchanged = False
        self._line_open = False

    def run(self, question: str | None) -> None:
        """Print what happens. Returns at the end of the input, after `/quit`, after `count`
        answers, or at Ctrl-C."""
        since = 0
        if question is not None:
            self._station.ask(question, continuous=True)
        else:
            threading.Thread(target=self._listen, name="questions", daemon=True).start()
        try:
            ended = False
            while not ended:
                # Read before the events are: everything until the end is still printed.
                ended = self._ended.is_set() and self._station.wait_idle(0)
                for event in self._station.events_after(since, timeout=0 if ended else _LOOK):
                    since = event.number
                    self._print(event)
                    ended = ended or self._answers == self._count
                    if self._answers == self._count:
                        break
        except KeyboardInterrupt:
            pass
        self._break_line()
        if not self._as_json:
            self._sum_up(self._station.stats())

    def _print(self, event: StationEvent) -> None:
        happened = event.event
        if isinstance(happened, Answered):
            self._answers += 1
        if self._as_json:
            if isinstance(happened, StateChanged | Answered | Unchanged | Failed):
                print_json(event.to_dict())
            return
        match happened:
            case StateChanged():
                self._show_state(happened)
            case Asked(exchange=exchange):
                self._begin(exchange)
            case Thought(text=text):
                err.print(printable(text, keep="\n\t"), style="dim", markup=False, end="")
            case Text(text=text):
                show_answer(text, end="")
                self._line_open = True
            case Regions(regions=regions):
                self._break_line()
                note(f"looking closer: {', '.join(region.name for region in regions)}")
            case Answered(exchange=exchange):
                self._break_line()
                note(summary(exchange))
                for policy in exchange.policies:
                    warn(f"policy {policy}")
            case Unchanged(frame=frame) if not self._unchanged:
                self._unchanged = True
                note(f"frame {frame} looks the same: the answer is still right")
            case Failed(message=message):
                self._break_line()
                warn(message)

    def _show_state(self, state: StateChanged) -> None:
        seen = (state.camera, state.text if state.camera != "frozen" else "")
        if seen != self._shown_state and state.camera != "connecting":
            self._shown_state = seen
            self._break_line()
            (note if state.camera == "live" else warn)(state.text)

    def _begin(self, exchange: Exchange) -> None:
        self._unchanged = False
        if exchange.note and exchange.note != self._note:
            self._note = exchange.note
            note(exchange.note)
        note(f"frame {exchange.frame}: {exchange.question}", style=None)

    def _break_line(self) -> None:
        if self._line_open:
            show_answer("")
            self._line_open = False

    def _sum_up(self, stats: Stats) -> None:
        if not stats.answers:
            return
        share = stats.visual_tokens / stats.full_tokens
        note(
            f"{_counted(stats.answers, 'answer')}, {stats.zoomed} zoomed, RTR {share:.2f}; "
            f"{_counted(stats.unchanged, 'frame')} looked the same; "
            f"{_counted(stats.kept_views, 'view')} and "
            f"{_counted(stats.kept_regions, 'region')} kept",
            style=None,
        )

    def _listen(self) -> None:
        """Read questions on a separate thread: a read cannot be interrupted."""
        if sys.stdin is not None:
            if isinstance(sys.stdin, io.TextIOWrapper):
                # Undecodable bytes make the question invalid; the stream goes on.
                sys.stdin.reconfigure(errors="surrogateescape")
            if sys.stdin.isatty():
                with suppress(ImportError):
                    import readline  # noqa: F401
                note(_HELP)
            for line in sys.stdin:
                if not self._obey(line.strip()):
                    break
        self._ended.set()

    def _obey(self, line: str) -> bool:
        """Do what a typed line says; whether to read on."""
        try:
            if line == "/quit":
                return False
            if line == "/stop":
                self._station.cancel()
            elif line.startswith("/more "):
                self._ask(line[len("/more ") :].strip(), follow_up=True)
            elif line.startswith("/"):
                warn(f"no command {line}: {_HELP}")
            elif line:
                self._ask(line)
        except AwaresError as error:
            warn(" ".join(str(error).split()))
        return True

    def _ask(self, question: str, *, follow_up: bool = False) -> None:
        self._station.ask(question, follow_up=follow_up)
        # A typed question replaces the current one; piped questions are asked one by one.
        if not sys.stdin.isatty():
            self._station.wait_idle()


def summary(exchange: Exchange) -> str:
    """How an answer came about, one line."""
    tokens = exchange.visual_tokens
    spent = tokens["low"] + tokens["crops"]
    parts = [
        exchange.path,
        f"{spent} of {tokens['full']} visual tokens (RTR {exchange.rtr:.2f})",
        f"{exchange.total_ms:.1f} ms",
    ]
    if exchange.confidence is not None:
        parts.append(f"confidence {exchange.confidence:.2f}")
    if exchange.joules is not None:
        parts.append(f"{exchange.joules:.2f} J")
    kept = ["view"] * exchange.kept_view
    if exchange.kept_regions:
        kept.append(f"{exchange.kept_regions} of {len(exchange.regions)} regions")
    if kept:
        parts.append(f"{' and '.join(kept)} kept")
    return " · ".join(parts)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
