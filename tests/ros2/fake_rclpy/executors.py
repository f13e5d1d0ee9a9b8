"""Callback groups, and an executor with as many threads as it is told."""

import threading
from concurrent.futures import Future


class ExternalShutdownException(Exception):
    """ROS was shut down while the executor was spinning."""


class ReentrantCallbackGroup:
    """Its callbacks run side by side."""

    def begin(self):
        return True

    def end(self):
        pass


class MutuallyExclusiveCallbackGroup:
    """One of its callbacks runs at a time."""

    def __init__(self):
        self._busy = False

    def begin(self):
        free, self._busy = not self._busy, True
        return free

    def end(self):
        self._busy = False


class MultiThreadedExecutor:
    """Runs what is ready on `num_threads` threads; `create_task` may be called by any thread."""

    def __init__(self, num_threads=None):
        self._threads = num_threads or 2
        self._changed = threading.Condition()
        self._ready = []
        self._shut = False

    def add_node(self, node):
        node.executor = self

    def create_task(self, callback, *args):
        """Run once, whatever else runs."""
        return self.schedule(ReentrantCallbackGroup(), callback, *args)

    def schedule(self, group, callback, *args):
        """Run when its callback group allows it."""
        future = Future()
        with self._changed:
            self._ready.append((group, future, callback, args))
            self._changed.notify_all()
        return future

    def spin(self):
        threads = [threading.Thread(target=self._run) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def shutdown(self):
        with self._changed:
            self._shut = True
            self._changed.notify_all()

    def _take(self):
        for item in self._ready:
            if item[0].begin():
                self._ready.remove(item)
                return item
        return None

    def _run(self):
        while True:
            with self._changed:
                item = None
                while not self._shut and (item := self._take()) is None:
                    self._changed.wait()
                if item is None:
                    return
            group, future, callback, args = item
            try:
                future.set_result(callback(*args))
            except BaseException as error:
                future.set_exception(error)
            with self._changed:
                group.end()
                self._changed.notify_all()
