"""Waiting until the kernel has run out of memory in a cgroup.

Rules:
- An fd that is readable means "look at `oom_kill_count`", not "somebody was killed": it is readable
  for other pressure too, and on v1 before the kill.

It must not know what is done then.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Generator
from pathlib import Path

import trio

from trio_driver.linux.cgroup_files import read_fd, write


class OomEvents:
    """See `watch_oom`."""

    def __init__(self, wait_fd: int, events_fd: int | None) -> None:
        """For `watch_oom` alone."""
        self._wait_fd = wait_fd
        self._events_fd = events_fd

    async def wait(self) -> None:
        """Wait until it is worth looking. If cancelled, nothing has changed."""
        await trio.lowlevel.wait_readable(self._wait_fd)

    def acknowledge(self) -> None:
        """Before a look: what happens from now on is told again."""
        with contextlib.suppress(OSError):  # the cgroup is gone, or there is nothing to acknowledge
            if self._events_fd is None:
                os.eventfd_read(self._wait_fd)
            else:
                read_fd(self._events_fd)


@contextlib.contextmanager
def watch_oom(path: Path) -> Generator[OomEvents | None]:
    """Watch the cgroup at `path` for the length of the block; None where the kernel tells nobody.

    Raises:
        OSError: no fd left.

    Source: cgroup-v2.rst, memory.events: a change is a POLLPRI event; cgroup-v1/memory.rst, section
    "OOM Control".
    """
    with contextlib.ExitStack() as stack:
        if (events_fd := _open(path / "memory.events")) is not None:
            stack.callback(os.close, events_fd)
            # Trio waits for POLLIN only, hence an fd that is readable when the other one is urgent.
            epoll = stack.enter_context(select.epoll())
            epoll.register(events_fd, select.EPOLLPRI)
            yield OomEvents(epoll.fileno(), events_fd)
        elif (control_fd := _open(path / "memory.oom_control")) is not None:
            stack.callback(os.close, control_fd)
            event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            stack.callback(os.close, event_fd)
            write(path / "cgroup.event_control", f"{event_fd} {control_fd}")
            yield OomEvents(event_fd, None)
        else:
            yield None


def _open(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    return None
