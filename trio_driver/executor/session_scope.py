"""What holds the processes of one session together: a cgroup below the run's, so that the session's
end kills all that it left, and nothing else.

Rules:
- It is in the run's containment: whatever is missed here ends with the task.
- Where the run has no cgroup, the processes of the session that the kernel knows by its number are
  killed. One that began a session of its own is only found by the end of the task.
"""

import contextlib
import itertools
import os
import signal
from dataclasses import replace
from pathlib import Path

import trio

from trio_driver.executor.containment import FIRST_PAUSE_S, LONGEST_PAUSE_S
from trio_driver.executor.launch import LaunchPlan
from trio_driver.linux import (
    ProcessId,
    cgroup,
    descendants_of,
    identify,
    is_alive,
    open_pidfd,
    signal_pidfd,
)
from trio_driver.model import LaunchError

NAMES_LIMIT = 1024
"""How many names are tried: a task that is root may make cgroups that are called like ours."""

_NUMBERS = itertools.count(1)
"""Of the sessions of this process. Never used again: one that has ended must not end another."""


class SessionScope:
    """See the module; made by `make_scope`."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        """The session's cgroup; None where the run has none."""
        self.leader: ProcessId | None = None
        """The session's first process, once there is one."""
        self._is_removed = False

    def fill(self, plan: LaunchPlan, run_path: Path | None) -> LaunchPlan:
        """The plan with this scope in the place of the run's cgroup."""
        if self.path is None:
            return plan
        joined = tuple(self.path if path == run_path else path for path in plan.joined)
        born_in = self.path if plan.born_in == run_path else plan.born_in
        return replace(plan, born_in=born_in, joined=joined)

    def kill_nowait(self) -> bool:
        """Kill every process of the session once; whether any, or its cgroup, may still be there."""
        if self.path is None:
            return self.leader is not None and _kill_session(self.leader)
        if not self._is_removed:
            cgroup.kill(self.path)
            self._is_removed = cgroup.remove_tree(self.path)
        return not self._is_removed

    async def close(self, *, limit_s: float) -> bool:
        """Kill until nothing is left; False if something outlived it by `limit_s`: it stays in the
        run's containment.

        If cancelled, what was killed stays killed.
        """
        pause_s = FIRST_PAUSE_S
        with trio.move_on_after(limit_s):
            while self.kill_nowait():
                await trio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            return True
        return not self.kill_nowait()


def make_scope(run_path: Path | None) -> SessionScope:
    """Make a cgroup for a session below the run's.

    Raises:
        LaunchError: it cannot be made: the run is ending, or the kernel allows no more.
    """
    if run_path is None:
        return SessionScope(None)
    for number in itertools.islice(_NUMBERS, NAMES_LIMIT):
        path = run_path / f"exec-{number}.scope"
        try:
            if cgroup.make(path):
                return SessionScope(path)
        except OSError as error:
            raise LaunchError("cgroup", str(path), error.strerror or str(error)) from error
    raise LaunchError("cgroup", str(run_path), f"{NAMES_LIMIT} names of sessions are taken")


def _kill_session(leader: ProcessId) -> bool:
    """Kill our descendants of the session of `leader`; whether any lived."""
    if identify(leader.pid) not in (leader, None):
        return False  # the number is somebody else's, so the session has no process any more
    found = False
    for pid in descendants_of(os.getpid()):
        process = identify(pid)
        with contextlib.suppress(ProcessLookupError):
            if process is None or not is_alive(process) or os.getsid(pid) != leader.pid:
                continue
            found = True
            pidfd = open_pidfd(process)
            try:
                # An ordinary user may not kill a set-id program: the run's containment tells of it.
                with contextlib.suppress(PermissionError):
                    signal_pidfd(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)
    return found
