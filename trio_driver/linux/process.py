"""Who a process is: identity, pidfds, parents and children.

Rules:
- A pid is not an identity. What is stored is a `ProcessId`; what is signalled is a pidfd whose
  start time was checked *after* it was opened, so a reused pid can never be hit.
- Command line and environment are never looked at: between fork and exec a child still shows its
  parent's, and a task can write its own.
- A look at /proc is a look: what it finds may be gone, what it misses may be new. Callers that must
  find everything look again until nothing is found.

It must not know why a process is looked for.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import signal
from collections import deque
from dataclasses import dataclass

import trio

DESCENDANTS_LIMIT = 65_536
"""Most processes one walk returns: a task that forks faster than we read cannot keep us reading."""

_STAT_BYTES = 4096
"""/proc/PID/stat is some 300 bytes; one read returns all of it or the file is not what we think."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one that was given the same pid.

    `start_ticks` counts clock ticks from boot to the process's start; `boot_id` names the boot.

    Source: proc(5), /proc/PID/stat field 22 and /proc/sys/kernel/random/boot_id.
    """

    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class _Stat:
    """The fields of /proc/PID/stat that are used here."""

    state: str
    parent_pid: int
    threads: int
    start_ticks: int

    @property
    def is_dead(self) -> bool:
        """Nothing of the process runs; at most its exit status is left.

        A main thread that has ended shows as a zombie while others still run: that is alive.
        """
        return self.state in "ZXx" and self.threads <= 1


@functools.cache
def boot_id() -> str:
    """Name of this boot of the kernel, another one after every reboot.

    Raises:
        OSError: /proc is not mounted.
    """
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def identify(pid: int) -> ProcessId | None:
    """The process that has `pid` now (a zombie too), or None if there is none.

    Raises:
        OSError: /proc cannot be read for another reason, EMFILE for one.
    """
    stat = _read_stat(pid)
    return None if stat is None else ProcessId(pid, stat.start_ticks, boot_id())


def open_pidfd(process: ProcessId) -> int:
    """A close-on-exec pidfd of exactly `process`; the caller closes it.

    A zombie has one too: it is readable at once.

    Raises:
        ProcessLookupError: it is gone and reaped, or its pid belongs to another process now, or it
            is of another boot.
        OSError: no fd left, or a kernel without pidfd_open(2) (Linux < 5.3).

    Source: pidfd_open(2).
    """
    gone = ProcessLookupError(errno.ESRCH, "no such process", str(process))
    if identify(process.pid) != process:
        raise gone
    pidfd = open_pidfd_of_pid(process.pid)
    if pidfd is None:
        raise gone
    try:
        # Only a check after the open says whom the pidfd holds: before it, the pid could be reused
        # in between.
        if identify(process.pid) != process:
            raise gone
    except BaseException:
        os.close(pidfd)
        raise
    return pidfd


def open_pidfd_of_pid(pid: int) -> int | None:
    """A pidfd of whoever has `pid` now, or None; the caller finds out afterwards who that is.

    Raises:
        OSError: no fd left, or a kernel without pidfd_open(2).
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # EINVAL and ENOENT: by now it is the number of a thread.
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):
            return None
        raise


def signal_pidfd(pidfd: int, signum: int) -> bool:
    """Send `signum`; False when the process is gone. A zombie ignores it and counts as there.

    Raises:
        PermissionError: the process belongs to somebody else.

    Source: pidfd_send_signal(2).
    """
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        return False
    return True


def is_alive(process: ProcessId) -> bool:
    """Whether `process` still runs. A zombie does not; a process of another boot does not."""
    stat = _read_stat(process.pid) if process.boot_id == boot_id() else None
    return stat is not None and stat.start_ticks == process.start_ticks and not stat.is_dead


def has_ended(pidfd: int) -> bool:
    """Whether the process behind `pidfd` has ended, reaped or not. Does not wait."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


async def wait_pidfd(pidfd: int) -> None:
    """Wait until the process behind `pidfd` has ended (all its threads). It is not reaped.

    If cancelled nothing has changed. One task at a time may wait on one fd number.

    Raises:
        trio.BusyResourceError: another task waits on the same fd.
        trio.ClosedResourceError: the fd was closed after `trio.lowlevel.notify_closing`.
    """
    await trio.lowlevel.wait_readable(pidfd)


def parent_of(pid: int) -> int | None:
    """Pid of the parent of `pid` now; None when there is no such process.

    0 stands for a parent that has no pid here: the kernel, or one outside our pid namespace.
    """
    stat = _read_stat(pid)
    return None if stat is None else stat.parent_pid


def children_of(pid: int) -> list[int]:
    """Pids of the children of `pid`, zombies included; empty when it is gone.

    One look: a child that ends while we read can hide another one, so repeat until nothing is
    found.

    Source: proc(5), /proc/PID/task/TID/children (absent in kernels without CONFIG_PROC_CHILDREN).
    """
    found: list[int] = []
    for thread in _list(f"/proc/{pid}/task"):
        # Children are listed under the thread that forked them.
        text = _read(f"/proc/{pid}/task/{thread}/children")
        if text is not None:
            found += map(int, text.split())
        elif not os.path.exists("/proc/thread-self/children"):
            return [child for child in _all_pids() if parent_of(child) == pid]
    return found


def descendants_of(pid: int) -> list[int]:
    """Pids below `pid`, parents before children, zombies included, at most `DESCENDANTS_LIMIT`.

    One look: see `children_of`. What was reparented out of the tree is not below `pid` any more.
    """
    found: dict[int, None] = {}
    queue = deque([pid])
    while queue and len(found) < DESCENDANTS_LIMIT:
        for child in children_of(queue.popleft()):
            if child not in found and child != pid:
                found[child] = None
                queue.append(child)
    return list(found)[:DESCENDANTS_LIMIT]


def _read_stat(pid: int) -> _Stat | None:
    text = _read(f"/proc/{pid}/stat")
    if text is None:
        return None
    # The name is in parentheses and may hold any byte, parentheses too: what follows the last one
    # is fixed.
    fields = text.rpartition(b")")[2].split()
    return _Stat(fields[0].decode(), int(fields[1]), int(fields[17]), int(fields[19]))


def _read(path: str) -> bytes | None:
    """The whole of a /proc file; None when its process is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    chunks: list[bytes] = []
    try:
        while chunk := os.read(fd, _STAT_BYTES):
            chunks.append(chunk)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    return b"".join(chunks)


def _list(path: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return os.listdir(path)
    return []


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
