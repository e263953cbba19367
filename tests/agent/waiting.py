"""Waiting for other processes: an event where the kernel has one, a bounded look again where not.

Rules:
- Every wait has a limit in seconds; past it the error says what was wanted and what was there.
- Nothing waits for luck: no wait is longer than its condition takes to come true.
"""

import ctypes
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import trio

LIMIT_S = 60.0
"""For all that an agent does within a second or two: hosts may be slow, and start cold."""

LOOK_AGAIN_S = 0.02
"""Between two looks at /proc or /sys/fs/cgroup, which send no events."""

IN_MODIFY, IN_MOVED, IN_CREATE, IN_DELETE = 0x2, 0xC0, 0x100, 0x200
"""Source: inotify(7)."""

_LIBC = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class Changes:
    """What an inotify descriptor tells: that something has changed, never what."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def next(self) -> None:
        """Wait for a change since the last call, or since the watch began."""
        await trio.lowlevel.wait_readable(self._fd)
        os.read(self._fd, 1 << 16)


@contextmanager
def watched(*paths: Path) -> Generator[Changes]:
    """Watch files or directories (not what is below them) for the length of the block.

    Raises:
        OSError: one of the paths does not exist.
    """
    fd = _LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        for path in paths:
            mask = IN_MODIFY | IN_MOVED | IN_CREATE | IN_DELETE
            if _LIBC.inotify_add_watch(fd, os.fsencode(path), mask) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))
        yield Changes(fd)
    finally:
        os.close(fd)


@asynccontextmanager
async def within(limit_s: float, wanted: str, found: Callable[[], object]) -> AsyncGenerator[None]:
    """Fail, with what was wanted and what was found, when the block takes longer than `limit_s`.

    Raises:
        AssertionError: the limit has passed.
    """
    scope = trio.CancelScope(deadline=trio.current_time() + limit_s)
    with scope:
        yield
    if scope.cancelled_caught:
        raise AssertionError(f"not within {limit_s} s: {wanted}; there is: {found()}") from None


async def file_holds(path: Path, condition: Callable[[Path], bool], wanted: str) -> None:
    """Wait until `condition(path)`, asked each time the directory of `path` changes."""
    async with within(LIMIT_S, wanted, lambda: sorted(path.parent.iterdir())):
        with watched(path.parent) as changes:
            while not condition(path):
                await changes.next()


async def eventually(
    look: Callable[[], T], wanted: str, *, shown: Callable[[], object], limit_s: float = LIMIT_S
) -> T:
    """The first true value of `look()`. Only for what sends no event: processes of others, cgroups.

    Raises:
        AssertionError: it has not become true; `shown()` is in the text.
    """
    seen = look()
    async with within(limit_s, wanted, shown):
        while not seen:
            await trio.sleep(LOOK_AGAIN_S)
            seen = look()
    return seen


async def wait_first(wait: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    """Wait, then cancel `scope`: of several waits in a nursery the first to end ends the others."""
    await wait()
    scope.cancel()


async def wait_ended(pid: int, *, limit_s: float = LIMIT_S) -> None:
    """Wait until the process `pid` has ended, a zombie counts; at once when there is none."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        async with within(limit_s, f"the end of process {pid}", lambda: "it lives"):
            await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def kill_hard(pid: int) -> None:
    """SIGKILL a process that this test run started, and wait until it has ended."""
    os.kill(pid, signal.SIGKILL)
    await wait_ended(pid)
