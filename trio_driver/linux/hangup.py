"""Seeing that the other end of a socket is gone, while nobody reads from it."""

from __future__ import annotations

import select

import trio


async def wait_hung_up(fd: int) -> None:
    """Wait until the other end of the connected socket `fd` is closed, or its process is gone.

    Not for the end of what it sends alone (shutdown(2)). What has been sent and not read yet does
    not matter, so it is seen by a process that cannot read on.

    If cancelled nothing has changed.

    Source: poll(2) POLLHUP; epoll(7): one instance may wait for another.
    """
    with select.epoll() as hangups:
        hangups.register(fd, 0)  # EPOLLHUP is reported always
        await trio.lowlevel.wait_readable(hangups.fileno())
