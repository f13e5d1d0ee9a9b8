"""When each stage runs: models are made on the CPU beside the checks, and profiles run alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from scripts.gpu_proof.stages import Stage


def run_all(
    stages: Sequence[Stage], attempt: Callable[[Stage], None], stop: Callable[[], None]
) -> None:
    """Call `attempt` with every stage, in order, those marked `beside` on a second thread.

    A stage waits for those that it needs the files of, a timed one for everything on the second
    thread: nothing else computes while times are taken.

    Args:
        stages: the first one says what the others may run on, and is done before they begin.
        stop: ends the attempt that runs; called where one raises an error or Ctrl-C is pressed.
    """
    attempt(stages[0])
    pool = ThreadPoolExecutor(1, thread_name_prefix="beside")
    try:
        beside = {stage.name: pool.submit(attempt, stage) for stage in stages[1:] if stage.beside}
        for stage in stages[1:]:
            if stage.name not in beside:
                for name in beside if stage.timed else beside.keys() & set(stage.after):
                    beside[name].result()
                attempt(stage)
        for made in beside.values():
            made.result()
    except BaseException:
        stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
