"""Killing every process of a cgroup and below, and freezing them.

Rules:
- One call is one non-blocking step, and may miss what joins meanwhile: kill, wait until empty, kill
  again if need be, and remove the cgroup, which alone makes joining fail. That loop and its limit
  are the caller's.
- A pid read from a list is never signalled: its pidfd is opened first, then the list is read again.
  A pid that was reused by a stranger is not in it.
- What was frozen is thawed, whatever happens in between.

It must not know why.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

from trio_driver.linux.cgroup_files import is_gone, write, write_at
from trio_driver.linux.cgroup_tree import procs_at, walk
from trio_driver.linux.process import open_pidfd_of_pid, signal_pidfd

KILL_PASSES = 8
"""How often one `kill_each` looks for processes that were forked while it killed their parents."""

_PIDFDS_AT_ONCE = 64
"""How many pidfds are held between two looks at a list of members."""

_FREEZE_FILES = (("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0"))
"""v1 and v2: file, value to freeze, value to thaw. Source: freezer-subsystem.rst, cgroup-v2.rst."""


def kill(path: Path) -> None:
    """Send SIGKILL to every process in the cgroup at `path` and below. No error when it is gone.

    By the kernel in one step where it can (cgroup.kill: Linux 5.14, v2), otherwise one by one.

    Raises:
        OSError: the kernel refuses: EACCES, or EPERM for somebody else's process. The others are
            killed all the same.

    Source: cgroup-v2.rst, cgroup.kill.
    """
    try:
        write(path / "cgroup.kill", "1")
    except OSError as error:
        # EOPNOTSUPP: somebody has made the cgroup a "threaded" one.
        if not is_gone(error) and error.errno != errno.EOPNOTSUPP:
            raise
        kill_each(path)


def open_kill(path: Path) -> int | None:
    """An fd for `kill_through`; None where the kernel has no cgroup.kill. The caller closes it.

    Open it early: killing through it needs neither a path nor a free fd.

    Raises:
        OSError: it may not be opened.
    """
    try:
        return os.open(path / "cgroup.kill", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None


def kill_through(kill_fd: int) -> None:
    """As `kill`, through an fd of `open_kill`.

    Raises:
        OSError: the kernel refuses (EOPNOTSUPP: somebody has made the cgroup a "threaded" one).
    """
    try:
        os.write(kill_fd, b"1")
    except OSError as error:
        if not is_gone(error):
            raise


def kill_each(path: Path) -> None:
    """As `kill`, without cgroup.kill: freeze where possible, send SIGKILL to each process, thaw.

    A killer that dies in between leaves the cgroup frozen; the next call of anybody thaws it.
    """
    attempted: set[int] = set()
    refused: list[OSError] = []
    with contextlib.ExitStack() as stack:
        stack.callback(_unless_forbidden, thaw, path)
        _unless_forbidden(freeze, path)
        for _ in range(KILL_PASSES):
            before = len(attempted)
            with contextlib.closing(walk(path)) as directories:
                for dir_fd in directories:
                    _kill_members(dir_fd, attempted, refused)
            if len(attempted) == before:
                break
    if refused:
        raise refused[0]


def _unless_forbidden(step: Callable[[Path], object], path: Path) -> None:
    """Freezing is a help: who may not do it may still kill processes of its own."""
    with contextlib.suppress(PermissionError):
        step(path)


def freeze(path: Path) -> bool:
    """Ask the processes in the cgroup at `path` and below to stop. False where nobody can be asked.

    Does not wait until they have. On v1 a frozen process cannot be killed: SIGKILL works once it is
    thawed.
    """
    # Both kernels freeze what is below, too, and what is made there later.
    return _write_first(path, frozen=True)


def thaw(path: Path) -> None:
    """Undo `freeze` in the cgroup at `path` and in each below: a task can freeze its own, too.

    Raises:
        OSError: the kernel refused for one of them; the others are thawed.
    """
    refused: list[OSError] = []
    for dir_fd in walk(path):
        try:
            _write_first(dir_fd, frozen=False)
        except OSError as error:
            refused.append(error)
    if refused:
        raise refused[0]


def _write_first(where: Path | int, *, frozen: bool) -> bool:
    """Write to the one of the freeze files that is there."""
    for name, freeze_value, thaw_value in _FREEZE_FILES:
        value = freeze_value if frozen else thaw_value
        try:
            if isinstance(where, int):
                write_at(where, name, value)
            else:
                write(where / name, value)
        except OSError as error:
            if not is_gone(error):
                raise
        else:
            return True
    return False


def _kill_members(dir_fd: int, attempted: set[int], refused: list[OSError]) -> None:
    """Kill the processes of one cgroup that are not in `attempted`, and add them."""
    pending = [pid for pid in procs_at(dir_fd) if pid not in attempted]
    while pending:
        # Held and closed again: room for the second look, whatever the pidfds take.
        room = os.dup(dir_fd)
        try:
            pidfds = _open_pidfds(pending[:_PIDFDS_AT_ONCE])
        finally:
            os.close(room)
        try:
            members = set(procs_at(dir_fd))
            for pid in pidfds.keys() & members:
                _kill_one(pid, pidfds[pid], refused)
        finally:
            _close_all(pidfds)
        attempted.update(pidfds)
        pending = pending[len(pidfds) :]


def _kill_one(pid: int, pidfd: int | None, refused: list[OSError]) -> None:
    try:
        if pidfd is not None:
            signal_pidfd(pidfd, signal.SIGKILL)
    except PermissionError as error:
        refused.append(PermissionError(error.errno, error.strerror, f"pid {pid}"))


def _open_pidfds(pids: list[int]) -> dict[int, int | None]:
    """Pidfds of `pids`, of the first ones if there is no room for all; None for one gone."""
    pidfds: dict[int, int | None] = {}
    try:
        for pid in pids:
            pidfds[pid] = open_pidfd_of_pid(pid)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE) and pidfds:
            return pidfds
        _close_all(pidfds)
        raise
    return pidfds


def _close_all(pidfds: dict[int, int | None]) -> None:
    for pidfd in pidfds.values():
        if pidfd is not None:
            os.close(pidfd)
