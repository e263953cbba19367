"""Forked children of the test for what belongs to a process: locks, and what is killed."""

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from trio_driver.linux import ProcessId, identify


class Fork:
    """A child that has run `prepare` and waits to be told to end."""

    def __init__(self, process: ProcessId, go: int) -> None:
        self.process = process
        self._go = go
        self._is_reaped = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> int:
        """Let it end, reap it; its exit code, negative for a signal."""
        if self._is_reaped:
            return 0
        os.close(self._go)
        _, status = os.waitpid(self.pid, 0)
        self._is_reaped = True
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.end()


@contextmanager
def forked(prepare: Callable[[], object]) -> Generator[Fork]:
    """A child for the length of the block, which begins when the child has run `prepare`."""
    go, told = os.pipe()
    ready, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(told)
            prepare()
            os.write(tells, b"r")
            os.read(go, 1)
            status = 0
        finally:
            os._exit(status)
    os.close(go)
    os.close(tells)
    said = os.read(ready, 1)
    os.close(ready)
    process = identify(pid)
    assert process is not None, "an unreaped child"
    fork = Fork(process, told)
    try:
        assert said == b"r", "the child failed"
        yield fork
    finally:
        fork.kill()
