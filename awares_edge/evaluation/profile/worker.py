"""The process that measures one variant: a job on standard input, lines of JSON on standard output.

    python -m awares_edge.evaluation.profile.worker

Lines are {"done", "total"} as it goes on, and last {"result"} or {"error"}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from awares_edge.errors import AwaresError
from awares_edge.evaluation.profile.job import Job


def _measure(job: Job, progress: Callable[[int, int], None]) -> dict[str, Any]:
    if job.variant.model is not None:
        from awares_edge.evaluation.profile.endpoint import measure_endpoint

        return measure_endpoint(job, progress)
    from awares_edge.evaluation.profile.measure import measure

    return measure(job, progress)


def main() -> int:
    task: dict[str, Any] = json.load(sys.stdin)
    # Whatever a library prints must not get in between the lines.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    try:
        if task["cpus"] and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, task["cpus"])
        if task.pop("what") == "limits":
            from awares_edge.evaluation.profile.limits import measure_limits

            say({"result": measure_limits(task["threads"])})
        else:
            job = Job.from_dict(task)
            say({"result": _measure(job, lambda done, total: say({"done": done, "total": total}))})
    except (AwaresError, MemoryError, OSError) as error:
        reason = str(error) or "not enough memory"
        say({"error": reason})
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
