"""A plain OpenAI-compatible server for a test: scripted replies, and every fault of a real one."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OWNERS = {"llamacpp": "grammar", "vllm": "structured_outputs", "sglang": "ebnf"}


@dataclass
class Fault:
    """A response that is not a reply.

    Attributes:
        status, headers, body: sent as they are.
        declared: the Content-Length; None for the true one.
        hang: whether nothing is sent until the client leaves.
        stall: whether the response stops in the middle until the client leaves.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    kind: str = "text/event-stream"
    hang: bool = False
    stall: bool = False


@dataclass
class Fake:
    """A server that runs.

    Attributes:
        replies: still to be given: a text, a list of texts (a turn's first, second, ... choice, of
            which a grammar takes the first that it admits), or a `Fault`.
        requests: bodies that came; paths, keys: of all requests.
        connections: how many clients connected.
        left: set when a client leaves in the middle of a response.
    """

    url: str = ""
    owner: str = "someone"
    replies: list[Any] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    connections: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    models: Any = None
    report: bool = True
    drops_stop: bool = True
    streams: bool = True
    reasoning: bool = False
    seen: list[str] = field(default_factory=list)
    last: Any = None

    def choose(self, body):
        """The next reply; a request under a grammar asks for another choice of the last one."""
        grammar = body.get(OWNERS.get(self.owner, ""))
        if grammar is None:
            self.last = self.replies.pop(0)
        choices = [self.last] if isinstance(self.last, str | Fault) else self.last
        if grammar is None:
            return choices[0]
        return next(c for c in choices[1:] if "GET_CROPS" not in c)

    def usage(self, body, said):
        """A character a token; what the longest earlier prompt has in common is cached."""
        prompt = "".join(spelled(message) for message in body["messages"]) + "<assistant>"
        cached = max((common(prompt, before) for before in self.seen), default=0)
        self.seen.append(prompt + said)
        return {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(said),
            "total_tokens": len(prompt) + len(said),
            "prompt_tokens_details": {"cached_tokens": cached},
        }


def spelled(message):
    """A message as a template would write it, a picture as a few characters of its own."""
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = [p["text"] if p["type"] == "text" else p["image_url"]["url"][-40:] for p in parts]
    return f"<{message['role']}>{''.join(texts)}</>"


def common(one, other):
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Fake

    def setup(self):
        super().setup()
        self.fake.connections += 1

    def do_GET(self):
        self._note()
        models = self.fake.models
        if models is None:
            models = {"object": "list", "data": [{"id": "m", "owned_by": self.fake.owner}]}
        if isinstance(models, Fault):
            self._fault(models)
        else:
            self._whole(json.dumps(models).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._note()
        self.fake.requests.append(body)
        reply = self.fake.choose(body)
        if isinstance(reply, Fault):
            self._fault(reply)
        else:
            self._reply(body, reply)

    def _reply(self, body, reply):
        said, finish = reply[: body["max_tokens"]], "stop"
        if len(said) < len(reply):
            finish = "length"
        if self.fake.drops_stop and not body.get("include_stop_str_in_output"):
            for stop in body.get("stop", []):
                said = said.removesuffix(stop)
        usage = self.fake.usage(body, said) if self.fake.report else None
        if not self.fake.streams:
            choice = {"message": {"role": "assistant", "content": said}, "finish_reason": finish}
            self._whole(json.dumps({"choices": [choice], "usage": usage}).encode())
        else:
            self._stream(said, finish, usage)

    def _stream(self, said, finish, usage):
        self._head("text/event-stream", {"Transfer-Encoding": "chunked"})
        deltas = [{"role": "assistant", "content": ""}]
        if self.fake.reasoning and said.startswith("<think>"):
            thought, _, said = said.removeprefix("<think>").partition("</think>")
            deltas += [{"reasoning_content": character} for character in thought]
        # Pieces of three characters, so that marks and tags are cut in two.
        deltas += [{"content": said[i : i + 3]} for i in range(0, len(said), 3)]
        for delta in deltas:
            self._event({"choices": [{"index": 0, "delta": delta}]})
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if usage:
            self._event({"choices": [], "usage": usage})
        self._piece(b": a comment\r\n\r\ndata: [DONE]\n\n")
        self._piece(b"")

    def _event(self, value):
        self._piece(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _fault(self, fault):
        if fault.hang:
            self._until_left()
            return
        length = len(fault.body) if fault.declared is None else fault.declared
        headers = {"Content-Length": str(length), **fault.headers}
        self._head(fault.kind, headers, fault.status)
        try:
            self.wfile.write(fault.body)
        except OSError:
            self.fake.left.set()
        if fault.stall:
            self._until_left()
        self.close_connection = True

    def _until_left(self):
        self.wfile.flush()
        self.connection.settimeout(30)
        try:
            while self.connection.recv(1024):
                pass
        except OSError:
            pass
        self.fake.left.set()
        self.close_connection = True

    def _whole(self, body):
        self._head("application/json", {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, kind, headers, status=200):
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _note(self):
        self.fake.paths.append(self.path)
        self.fake.keys.append(self.headers.get("Authorization"))

    def log_message(self, *_):
        pass


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_):
        pass


@contextmanager
def faking(*replies, owner="someone", context=None, tls=None, **options):
    """A server in a thread of this process, on a free port of 127.0.0.1.

    Args:
        context: most tokens of a conversation, as it says.
        tls: an `SSLContext` to speak TLS with.
    """
    fake = Fake(owner=owner, replies=list(replies), **options)
    if context is not None:
        model = {"id": "m", "owned_by": owner, "max_model_len": context}
        fake.models = {"data": [model]}
    http = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    http.daemon_threads = True
    http.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    fake.url = f"http://127.0.0.1:{http.server_port}/v1"
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True)
        fake.url = f"https://localhost:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def streamed(*values, done=True):
    """The bytes of a stream of these chunks; a text is the content of one."""
    out = b""
    for value in values:
        if isinstance(value, str):
            value = {"choices": [{"delta": {"content": value}}]}
        out += b"data: " + json.dumps(value).encode() + b"\n\n"
    return out + (b"data: [DONE]\n\n" if done else b"")


def wait_for(event, seconds=30.0):
    """Fail where something does not happen at all; how long it takes is not asserted."""
    end = time.monotonic() + seconds
    while not event.is_set():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
