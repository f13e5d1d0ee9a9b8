"""A stand-in for the Hugging Face hub's HTTP API, for its real client (`HF_ENDPOINT`)."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories by id, each a dict of file names and contents.

    Attributes:
        datasets: ids of the repositories that are data sets; the others are models.
        gets: names of the files whose contents were asked for, in order.
        cut: how many bytes of a file to send before the connection breaks, once, by name.
        status: HTTP status to answer everything about a repository with, by id.
        revisions: branches and tags that exist.
    """

    def __init__(self):
        self.repositories = {}
        self.datasets = set()
        self.gets = []
        self.cut = {}
        self.status = {}
        self.revisions = {"main", COMMIT}
        self.endpoint = ""


@contextmanager
def running_hub():
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            if parts[:2] in (["api", "models"], ["api", "datasets"]):
                kind, repository, rest = parts[1], "/".join(parts[2:4]), parts[4:]
            elif parts[0] == "datasets":
                kind, repository, rest = "datasets", "/".join(parts[1:3]), parts[3:]
            else:
                kind = "models"
                repository, rest = "/".join(parts[:2]), parts[2:]
            status = hub.status.get(repository)
            if repository not in hub.repositories or (kind == "datasets") != (
                repository in hub.datasets
            ):
                self.fail(404, "RepoNotFound")
            elif status:
                self.fail(status, {403: "GatedRepo", 401: "RepoNotFound"}.get(status, ""))
            elif len(rest) > 1 and rest[1] not in hub.revisions:
                self.fail(404, "RevisionNotFound")
            elif rest and rest[0] == "revision":
                names = hub.repositories[repository]
                siblings = [{"rfilename": name} for name in names]
                self.json({"id": repository, "sha": COMMIT, "siblings": siblings})
            elif rest and rest[0] == "tree":
                self.json(
                    [
                        {"type": "file", "path": name, "size": len(data), "oid": etag(data)}
                        for name, data in hub.repositories[repository].items()
                    ]
                )
            elif rest and rest[0] == "resolve" and self.name(rest) in hub.repositories[repository]:
                self.file(self.name(rest), hub.repositories[repository][self.name(rest)], body)
            else:
                self.fail(404, "EntryNotFound")

        def name(self, rest):
            return "/".join(rest[2:])

        def file(self, name, data, body):
            start = 0
            if wanted := self.headers.get("Range"):
                start = int(wanted.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if wanted else 200)
            self.send_header("ETag", f'"{etag(data)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data) - start))
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if not body:
                return
            hub.gets.append(name)
            if (cut := hub.cut.pop(name, None)) is not None:
                self.wfile.write(data[start : start + cut])
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(data[start:])

        def json(self, value):
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def fail(self, status, code):
            self.send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

        def send(self, status, data, headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def etag(data):
    return hashlib.sha1(data).hexdigest()
