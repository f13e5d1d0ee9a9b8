"""Run the command line as a shell does, and hold it to what must be true whatever goes wrong."""

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

import awares_edge

ROOT = Path(awares_edge.__file__).parents[1]
NANO = ROOT / "checkpoints" / "nano"
PICTURE = ROOT / "awares_edge" / "assets" / "samples" / "sign.png"
HANG = 120
"""Seconds after which a command counts as hanging."""


@dataclass
class Ended:
    """A command that has ended; `code` is negative for a signal that killed it."""

    code: int
    out: bytes
    err: str

    def check(self, *codes):
        """No traceback, one line of error at most where it failed, and one of these codes."""
        assert "Traceback" not in self.err, self.err
        assert "Exception ignored" not in self.err, self.err
        assert self.code in codes, (self.code, self.err)
        if self.code == 2 and self.err:  # stderr may be closed
            assert self.err.splitlines()[-1].startswith("awares-edge: "), self.err
        return self


def start(arguments, cwd, env=None, prefix=(), most_bytes=None, **options):
    """Start `awares-edge` with these arguments in a process of its own.

    `most_bytes` limits the size of every file that it writes, as a full disk does.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}

    def prepare():
        for number in SIGNALS:  # a test run in the background has them ignored
            signal.signal(number, signal.SIG_DFL)
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    command = [*prefix, sys.executable, "-m", "awares_edge", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, env=environment, preexec_fn=prepare, **options)


def finish(process):
    """Wait for a command; one that hangs is killed and fails."""
    try:
        out, err = process.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, out or b"", (err or b"").decode(errors="replace"))


def stop(process, number, delay):
    """Send a signal after `delay` seconds, unless the command has ended by then."""
    end = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    if process.poll() is None:
        process.send_signal(number)
    return finish(process)


def entries(folder):
    """Relative paths of everything in a folder."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def leftovers(folder):
    """What temporary names have been left."""
    return [name for name in entries(folder) if ".awares-edge." in name]


def moments(count, seconds, seed=0):
    """`count` random moments within the duration of a command, in seconds."""
    random = Random(seed)
    return [random.uniform(0, seconds) for _ in range(count)]


def duration(arguments, cwd):
    """Seconds that a command takes here and now, undisturbed."""
    begun = time.monotonic()
    finish(start(arguments, cwd)).check(0)
    return time.monotonic() - begun


@pytest.fixture
def run(tmp_path):
    """Run a command in the test's folder to its end."""

    def run(*arguments, **options):
        return finish(start(arguments, tmp_path, **options))

    return run


def shell(line, cwd, env=None):
    """Run a shell line in which `$A` is the command and `$P` a picture."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "A": f"{sys.executable} -m awares_edge",
        "P": str(PICTURE),
        "NANO": str(NANO),
        **(env or {}),
    }
    done = subprocess.run(
        ["bash", "-c", line], cwd=cwd, env=environment, capture_output=True, timeout=HANG
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
"""Signals that end a command in order, and its exit codes."""
