"""The one place in the executor that reaps: our own workloads, and strangers that became our
children.

The executor is a subreaper, so that a process whose parent dies becomes ours, wherever it hid.

Rules:
- Nobody else calls wait(2) here. A pid stays ours until we reap it, so it may be signalled by
  number.
- A workload is registered between its fork and the next checkpoint, so its exit cannot be missed.
"""

import contextlib
import os
import signal

import trio

from trio_driver.linux import children_of
from trio_driver.model import Exited, Signaled, TaskExit


class ChildExit:
    """The end of one child: `task_exit` is None while it lives."""

    def __init__(self, status_fd: int = -1) -> None:
        self._status_fd = status_fd
        self.task_exit: TaskExit | None = None
        self.ended = trio.Event()

    def set(self, status: int) -> None:
        if (
            self._status_fd >= 0
        ):  # of a proxy: what it was told of its workload, unless it was killed
            text = os.read(self._status_fd, 32)
            os.close(self._status_fd)
            status = int(text) if text else status
        code = os.waitstatus_to_exitcode(status)
        self.task_exit = Exited(code) if code >= 0 else Signaled(-code)
        self.ended.set()


class Children:
    """See the module. `reap_until_cancelled` must run for as long as there are children."""

    def __init__(self) -> None:
        self._exits: dict[int, ChildExit] = {}

    def register(self, pid: int, *, status_fd: int = -1) -> ChildExit:
        """Tell of the end of `pid`, a child that was just forked.

        Args:
            status_fd: where a child that is only the parent of a workload writes that one's status;
                ours from here on.
        """
        self._exits[pid] = child_exit = ChildExit(status_fd)
        return child_exit

    def is_unreaped(self, pid: int) -> bool:
        """Whether `pid` is a registered child that was not reaped: only then may it be signalled by
        number."""
        return pid in self._exits

    async def reap_until_cancelled(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Reap whatever ends."""
        with trio.open_signal_receiver(signal.SIGCHLD) as signals:
            task_status.started()
            async for _ in signals:
                self.reap_nowait()

    def reap_nowait(self) -> bool:
        """Reap what has ended; whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if (child_exit := self._exits.pop(pid, None)) is not None:
                child_exit.set(status)

    def kill_all_nowait(self) -> bool:
        """Kill every child we have, workload or stranger, and reap what is dead; whether any is
        left.

        The children of what is killed become ours: repeat until there are none.
        """
        for pid in children_of(os.getpid()):
            # An ordinary user may not kill a set-id program; it is waited for, and reported as stuck.
            with contextlib.suppress(PermissionError):
                os.kill(pid, signal.SIGKILL)
        return self.reap_nowait()
