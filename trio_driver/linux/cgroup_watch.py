"""Waiting until nothing lives in a cgroup.

Rules:
- No polling by time: the kernel says when it is worth looking again, through one fd that is
  readable then. Trio can wait for it, and so can a poll() loop without Trio.
- An fd that is readable means "look", not "empty".

It must not know what is done once it is empty, or how long anybody waits.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Generator
from pathlib import Path

import trio

from trio_driver.linux.cgroup_files import is_gone, keyed, read_fd
from trio_driver.linux.cgroup_tree import procs
from trio_driver.linux.process import open_pidfd_of_pid

_WATCH_TRIES = 8
"""How often a process to watch is looked for: one that was listed may be gone at the next step."""


class PopulatedWatch:
    """Whether something lives in a cgroup or below, and an fd to wait for a change of that.

    Look first, then wait for the fd, then look again: a change between look and wait is not lost.
    """

    def __init__(self, path: Path, epoll: select.epoll, events_fd: int | None) -> None:
        """For `watch` alone."""
        self._path = path
        self._epoll = epoll
        self._events_fd = events_fd
        self._awaited: int | None = None

    def fileno(self) -> int:
        """The fd to wait for: readable (POLLIN) when it is worth asking `is_populated` again."""
        return self._epoll.fileno()

    def is_populated(self) -> bool:
        """Whether something lives in the cgroup or below; False when it is gone. Does not wait."""
        if self._events_fd is None:
            return self._watch_a_member()
        try:
            # Reading it is also what tells the kernel that this change has been seen.
            return keyed(read_fd(self._events_fd))["populated"] != 0
        except OSError as error:
            if is_gone(error):
                return False
            raise

    async def wait_empty(self) -> None:
        """Wait until nothing lives in the cgroup and below. If cancelled, nothing has changed.

        On v1 a process that is moved to another cgroup is waited for until it ends.
        """
        await trio.lowlevel.checkpoint()
        while self.is_populated():
            await trio.lowlevel.wait_readable(self.fileno())

    def close(self) -> None:
        """Close the fds. `watch` does so at the end of its block."""
        self._await(None)
        self._epoll.close()
        if self._events_fd is not None:
            os.close(self._events_fd)

    def _watch_a_member(self) -> bool:
        """v1 has no events: wait for the end of any one process that is in there."""
        for _ in range(_WATCH_TRIES):
            members = procs(self._path, recursive=True)
            if not members:
                return False
            pidfd = open_pidfd_of_pid(members[0])
            if pidfd is None:
                continue
            self._await(pidfd)
            # Only now it is certain that this is no stranger with a reused pid.
            if members[0] in procs(self._path, recursive=True):
                return True
        self._await(os.eventfd(1))  # readable at once: they come and go too fast, look again
        return True

    def _await(self, fd: int | None) -> None:
        """Own `fd` and make the epoll fd readable when it is, instead of the one before."""
        previous, self._awaited = self._awaited, fd
        if previous is not None:
            # Closing alone would not do if a forked child holds a copy.
            self._epoll.unregister(previous)
            os.close(previous)
        if fd is not None:
            self._epoll.register(fd, select.EPOLLIN)


@contextlib.contextmanager
def watch(path: Path) -> Generator[PopulatedWatch]:
    """Watch the cgroup at `path` for the length of the block. A cgroup that is gone is empty.

    Raises:
        OSError: no fd left, or it may not be read.

    Source: cgroup-v2.rst, cgroup.events: a change is a POLLPRI event. Trio waits for POLLIN only,
    hence the epoll fd.
    """
    with contextlib.ExitStack() as stack:
        events_fd: int | None = None
        with contextlib.suppress(FileNotFoundError):
            events_fd = os.open(path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            epoll = select.epoll()
        except OSError:
            if events_fd is not None:
                os.close(events_fd)
            raise
        watcher = PopulatedWatch(path, epoll, events_fd)
        stack.callback(watcher.close)
        if events_fd is not None:
            epoll.register(events_fd, select.EPOLLPRI)
        yield watcher
