"""Stages of `scripts/gpu-proof` that go wrong on purpose, beside its own.

python -m tests.support.gpu_proof_tasks TASK RESULT < arguments.json
"""

import os
import subprocess
import sys
from pathlib import Path

from scripts.gpu_proof import work


def answer(value):
    return {"value": value}


def find_fault():
    raise work.Failed("two of\nthree differ", {"same": 1})


def crash():
    print("about to crash", flush=True)
    os.abort()


def hang(pid_file):
    """Never ends, nor does the process that it starts."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file).write_text(str(child.pid))
    child.wait()


if __name__ == "__main__":
    work.TASKS.update({task.__name__: task for task in (answer, find_fault, crash, hang)})
    sys.exit(work.main(sys.argv[1:]))
