"""`awares-edge camera` as a command: where the page is, who may open it, how it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest

from awares_edge.errors import RuntimeUnavailable
from tests.serve.support import refused


@contextmanager
def started(tmp_path, *arguments):
    """The command, and its output up to the page's address; it must end with 0 when asked to."""
    command = [sys.executable, "-m", "awares_edge", "camera", "--port", "0", *arguments]
    environment = {**os.environ, "AWARES_EDGE_CACHE": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    try:
        lines = [process.stdout.readline()]
        while lines[-1] and not lines[-1].startswith("open "):
            lines.append(process.stdout.readline())
        if "--lan" in arguments:
            lines.append(process.stdout.readline())
        yield "".join(lines)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, process.stdout.read()
    finally:
        process.kill()
        process.stdout.close()


def get(url, **more):
    """Once the server listens: the address is printed just before."""
    for _ in range(200):
        try:
            return httpx.get(url, trust_env=False, verify=False, timeout=30, **more)
        except httpx.ConnectError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens at {url}")


@pytest.mark.slow
def test_the_page_is_for_this_machine_and_needs_no_token(tmp_path):
    with started(tmp_path) as output:
        url = re.search(r"open (http://127\.0\.0\.1:\d+)/", output)[1]
        state = get(f"{url}/api/state").json()
        assert state["model"]["name"] == "nano (embedded)"
        assert get(f"{url}/api/frame.jpg").headers["content-type"] == "image/jpeg"
    assert list(tmp_path.rglob("page.key")) == []


@pytest.mark.slow
def test_the_local_network_gets_https_a_token_and_a_qr_code(tmp_path):
    pytest.importorskip("segno", reason="pip install segno")
    with started(tmp_path, "--lan") as output:
        origin, token = re.search(r"open (https://[^/]+)/#token=(\S{16,})", output).groups()
        port = origin.rpartition(":")[2]
        here = f"https://127.0.0.1:{port}"
        refused(get(f"{here}/api/state"), 401, "invalid_api_key")
        bearer = {"Authorization": f"Bearer {token}"}
        assert get(f"{here}/api/state", headers=bearer).status_code == 200
        assert re.search(r"SHA-256 is (?:[0-9A-F]{2}:){31}[0-9A-F]{2}", output)
        assert sum(line.count("█") for line in output.split("\n")) > 100
    (key,) = tmp_path.rglob("page.key")
    assert key.stat().st_mode & 0o077 == 0


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch):
    from awares_edge.apps import camera_page

    monkeypatch.setattr("awares_edge.extras.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match=r"starlette.*pip install 'awares-edge\[camera\]'"):
        camera_page.require_page(lan=False)
    with pytest.raises(RuntimeUnavailable, match="segno"):
        camera_page.require_page(lan=True)
