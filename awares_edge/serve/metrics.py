"""What Prometheus scrapes: vLLM's names where the meaning is the same, and zooming's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily

from awares_edge.controller import Answer
from awares_edge.serve.replies import usage

_PREFIX = "awares_edge:"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(slots=True)
class Pace:
    """When the text of one answer came, in seconds from its request's arrival.

    Attributes:
        arrived: `perf_counter()` of the arrival.
        pieces: when each piece of text came.
    """

    arrived: float
    pieces: list[float] = field(default_factory=list)


class Metrics:
    """Counts of one server.

    Args:
        running, waiting: read at each scrape.
        saved: the same: how many files of pictures met each event.
    """

    def __init__(
        self,
        running: Callable[[], float],
        waiting: Callable[[], float],
        saved: Callable[[], Mapping[str, int]],
    ) -> None:
        self.registry = CollectorRegistry()
        self._gauge("num_requests_running", "Questions that are being computed.", running)
        self._gauge("num_requests_waiting", "Questions that wait for a slot.", waiting)
        self._first = self._histogram(
            "time_to_first_token_seconds", "From arrival to the first text.", _SECONDS
        )
        self._between = self._histogram(
            "inter_token_latency_seconds", "Between two pieces of text.", _TOKEN_SECONDS
        )
        self._whole = self._histogram(
            "e2e_request_latency_seconds", "From arrival to the end of the answer.", _SECONDS
        )
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts, visual ones included.")
        self._generated = self._counter("generation_tokens", "Tokens that the model generated.")
        self._queries = self._counter("prefix_cache_queries", "Prompt tokens looked for in the KV.")
        self._hits = self._counter("prefix_cache_hits", "Prompt tokens whose KV was kept.")
        self._requests = self._counter("requests", "Requests by HTTP status.", "status")
        self._visual = self._counter("visual_tokens", "Visual tokens by stage.", "stage")
        self._zooms = self._counter("zoom_decisions", "Answers by what was looked at.", "decision")

        self.registry.register(_SavedPictures(saved))

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return bytes(generate_latest(self.registry))

    def request(self, status: int) -> None:
        """Count a request that ended with this status."""
        self._requests.labels(str(status)).inc()

    def answer(self, answer: Answer, pace: Pace, ended: float) -> None:
        """Count an answer.

        Args:
            ended: seconds from its request's arrival.
        """
        counts = usage(answer)
        self._prompt.inc(counts["prompt_tokens"])
        self._generated.inc(counts["completion_tokens"])
        self._queries.inc(counts["prompt_tokens"])
        self._hits.inc(counts["prompt_tokens_details"]["cached_tokens"])
        self._visual.labels(answer.view).inc(answer.visual_tokens.low)
        self._visual.labels("crops").inc(answer.visual_tokens.crops)
        self._zooms.labels("zoomed" if answer.zoomed else _DIRECT[answer.view]).inc()
        self._whole.observe(ended)
        if pace.pieces:
            self._first.observe(pace.pieces[0])
        for before, after in zip(pace.pieces, pace.pieces[1:], strict=False):
            self._between.observe(after - before)

    def _gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        Gauge(_PREFIX + name, help_text, registry=self.registry).set_function(read)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(_PREFIX + name, help_text, buckets=buckets, registry=self.registry)


class _SavedPictures:
    """Counts that are kept elsewhere, as prometheus_client reads them."""

    def __init__(self, read: Callable[[], Mapping[str, int]]) -> None:
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        help_text = "Files of pictures: loaded, written, or discarded as damaged."
        family = CounterMetricFamily(_PREFIX + "saved_pictures", help_text, labels=["event"])
        for event, count in self._read().items():
            family.add_metric([event], count)
        yield family


_DIRECT = {"low": "direct", "full": "full"}
