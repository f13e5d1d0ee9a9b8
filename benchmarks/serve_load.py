"""Eight clients on one server: throughput against the Python API, latency, memory, right answers.

    python benchmarks/serve_load.py                   # a minute or two
    python benchmarks/serve_load.py --seconds 600     # the long run, for memory

Two models: `scripted`, which computes nothing and answers with a code made from the pixels, and the
embedded `nano` on synthetic pictures. The Python API is measured in the same run, in turns with the
server. Every picture has an answer of its own, found by the Python API before, and each reply is
compared with it: KV of one picture must never answer for another. Each client asks a third of its
questions about the picture before. Fails at a wrong answer, an error, or memory that grows over 2%.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import io
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge.api import scripted  # noqa: E402
from awares_edge.controller import Model  # noqa: E402
from awares_edge.httpd.loop import listen, run_server  # noqa: E402
from awares_edge.protocol.tokenizer import TextTokenizer  # noqa: E402
from awares_edge.runtimes.base import EncodedImage, ImagePart, Logits, Piece  # noqa: E402
from awares_edge.runtimes.null import NullRuntime, NullSession  # noqa: E402
from awares_edge.serve.options import ServeOptions  # noqa: E402
from awares_edge.serve.run import make_server  # noqa: E402
from awares_edge.synth import generate  # noqa: E402
from awares_edge.vision.patches import Patches  # noqa: E402
from benchmarks.soak import resident  # noqa: E402

GROWTH = 0.02
ROUNDS = 4


@dataclass(frozen=True)
class Case:
    """A question about a picture, and what the model answers."""

    image: bytes
    question: str
    answer: str

    def request(self) -> bytes:
        url = f"data:image/png;base64,{base64.b64encode(self.image).decode()}"
        parts = [
            {"type": "text", "text": self.question},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        body = json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class CodeRuntime(NullRuntime):
    """Answers every question with a code made from the last picture in its cache."""

    code = ""

    def encode_image(self, patches: Patches) -> EncodedImage:
        code = hashlib.sha256(patches.pixels.tobytes()).hexdigest()[:8]
        return EncodedImage(code, patches.grid)

    def next_reply(self) -> list[list[int]]:
        return [[*self.tokenizer.encode(self.code), self.end]]

    def _open(self, context: int) -> CodeSession:
        return CodeSession(self, context)


class CodeSession(NullSession):
    """Knows which picture is in its cells."""

    _codes: dict[int, str]

    def __init__(self, runtime: CodeRuntime, *more: object) -> None:
        super().__init__(runtime, *more)  # type: ignore[arg-type]
        self._codes = {0: ""}

    def _forward(self, piece: Piece) -> Logits:
        for part in piece.parts:
            if isinstance(part, ImagePart):
                self._codes[self.cells + 1] = part.image.features
        # One question is computed at a time.
        self._runtime.code = self._codes[max(self._codes)]  # type: ignore[attr-defined]
        return super()._forward(piece)

    def _truncate(self, cells: int) -> None:
        self._codes = {at: code for at, code in self._codes.items() if at <= cells}
        super()._truncate(cells)

    def _fork(self) -> CodeSession:
        copy = CodeSession(self._runtime, self.context, self.mark())  # type: ignore[arg-type]
        copy.ids, copy._codes = list(self.ids), dict(self._codes)
        return copy


def code_model() -> Model:
    runtime = CodeRuntime()
    plain = scripted()
    tokenizer: TextTokenizer = runtime.tokenizer
    special = tokenizer.special_tokens()
    return Model(runtime, tokenizer, special, plain.protocol, plain.preprocessing)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def make_cases(model: Model, count: int) -> list[Case]:
    """Pictures that differ, and what the Python API answers about each."""
    cases = []
    for index in range(count):
        sample = generate("test", 11, index)
        image, question = png(sample.picture), sample.questions[0].text
        cases.append(Case(image, question, model.ask(image, question).text))
    return cases


def plan(cases: list[Case], client: int, clients: int) -> list[Case]:
    """A client's own pictures, a third of them asked about twice in a row."""
    own = cases[client::clients]
    return [case for i, case in enumerate(own) for case in [case] * (1 + (i % 2))]


# The clients: one process, so that they share no interpreter with the server.


async def ask_until(end: float, port: int, cases: list[Case]) -> tuple[list[float], list[str]]:
    """Latencies in ms, and what went wrong."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    requests, ms, wrong = [case.request() for case in cases], [], []
    turn = 0
    while time.monotonic() < end:
        case = cases[turn % len(cases)]
        started = time.perf_counter()
        writer.write(requests[turn % len(cases)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        ms.append((time.perf_counter() - started) * 1e3)
        said = body["choices"][0]["message"]["content"] if "choices" in body else str(body)
        if said != case.answer:
            wrong.append(f"{case.question}: {said!r}, not {case.answer!r}")
        turn += 1
    writer.close()
    return ms, wrong


def clients_process(pipe: Connection, port: int, plans: list[list[Case]]) -> None:
    """Load for so many seconds each time a number is sent, answered by what went wrong; at None,
    all latencies: the server's process, whose memory is measured, must not collect them."""

    async def all_clients(seconds: float) -> list[tuple[list[float], list[str]]]:
        end = time.monotonic() + seconds
        return await asyncio.gather(*(ask_until(end, port, own) for own in plans))

    rounds = []
    while (seconds := pipe.recv()) is not None:
        rounds.append(asyncio.run(all_clients(seconds)))
        pipe.send([error for _, errors in rounds[-1] for error in errors])
    # The first round warms up.
    pipe.send([ms for round in rounds[1:] for latencies, _ in round for ms in latencies])


@contextmanager
def server(model: Model, clients: int) -> Iterator[int]:
    """A server in a thread; its port."""
    bound = listen("127.0.0.1", 0)
    running = make_server(model, ServeOptions(waiting=2 * clients))
    thread = threading.Thread(target=run_server, args=(running, bound))
    port = bound.getsockname()[1]
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield port
    finally:
        running.stop()
        thread.join()


def python_api(model: Model, cases: list[Case], seconds: float) -> float:
    """Questions a second through the Python API, pictures kept as the server keeps them."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        case = cases[done % len(cases)]
        with model.open(case.image) as picture:
            while cases[done % len(cases)] is case:
                assert picture.ask(case.question).text == case.answer
                done += 1
    return done / (time.perf_counter() - start)


def measure(name: str, make: Callable[[], Model], options: argparse.Namespace) -> bool:
    """Print what one model does; whether all is well."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    api: list[float] = []
    wrong: list[str] = []
    memory: list[int] = []
    with make() as model:
        cases = make_cases(model, options.pictures)
        plans = [plan(cases, i, options.clients) for i in range(options.clients)]
        with server(model, options.clients) as port:
            process = context.Process(target=clients_process, args=(theirs, port, plans))
            process.start()
            ours.send(min(5.0, options.seconds / 4))  # warm up
            ours.recv()
            for _ in range(ROUNDS):
                seconds = options.seconds / ROUNDS / 2
                api.append(python_api(model, plans[0], seconds))
                ours.send(seconds)
                wrong += ours.recv()
                memory.append(resident())
            ours.send(None)
            ms = ours.recv()
            process.join()
    rate = len(ms) / (options.seconds / 2)
    base, growth = float(np.mean(api)), memory[-1] / memory[0] - 1
    p50, p99 = np.percentile(ms, [50, 99])
    print(
        f"{name}: {rate:.1f} questions/s with {options.clients} clients, {base:.1f} through the "
        f"Python API ({rate / base:.0%}); {p50:.0f} ms median, {p99:.0f} ms p99; {len(ms)} "
        f"answers, {len(wrong)} wrong; memory {memory[0] / 1e6:.0f} to {memory[-1] / 1e6:.0f} MB "
        f"({growth:+.1%})",
        flush=True,
    )
    for line in wrong[:5]:
        print(f"  {line}")
    return not wrong and growth <= GROWTH


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="for each model")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=160, help="different ones")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of nano")
    options = parser.parse_args()
    fine = measure("scripted", code_model, options)
    fine &= measure("nano", lambda: awares_edge.load(threads=options.threads), options)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
