"""The fence: at most one live executor of a (allocation, task), held by a lock and not by a scan.

POSIX record locks and no others: they end with their owner, a fork does not inherit them, and the
kernel names the owner. Not chosen: flock and open-file-description locks, which stay held by any
child that keeps the descriptor.

Rules:
- An executor takes the lock after its fork, on a file that it opens once and never closes: closing
  *any* descriptor of the file would drop the lock.
- A lock file that nobody holds may be removed by anybody; so a taker checks that the file it locked
  is still the one with the name.
"""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from trio_driver.linux import lock_owner, signal_pidfd, try_lock


class Fence:
    """The lock, held until this process ends. There is no way to give it back, by design."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        """Never closed."""

    @classmethod
    def try_take(cls, path: Path) -> "Fence | None":
        """Take the lock at `path`; None when another process holds it."""
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            if not try_lock(fd):
                os.close(fd)
                return None
            if _is_named(fd, path):
                return cls(fd)
            os.close(fd)  # somebody removed the file before we locked it: it fences nothing


def fence_owner(path: Path) -> int | None:
    """The pid that holds the lock at `path` now; None when nobody does.

    The pid is true for as long as that process lives, and it holds a lock in a directory of ours:
    ask again after opening a pidfd, and it is an identity.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return lock_owner(fd)
    finally:
        os.close(fd)


def kill_fence_owner(path: Path) -> bool:
    """Send SIGKILL to the process that holds the lock at `path`; False when nobody does."""
    owner = fence_owner(path)
    if owner is None:
        return False
    if owner == os.getpid():
        raise ValueError(f"this process holds {path}")
    try:
        pidfd = os.pidfd_open(owner)
    except ProcessLookupError:
        return fence_owner(path) is not None
    try:
        if fence_owner(path) == owner:  # it still holds it, so the pidfd is its own
            signal_pidfd(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return fence_owner(path) is not None


@contextmanager
def open_free_fence(path: Path) -> Generator[bool]:
    """Hold the lock at `path` for the length of a block that does not wait, if nobody else does;
    whether it is held.

    Must not be called by a process that holds it for life: closing the file would drop that lock.

    Raises:
        FileNotFoundError: there is no such file.
    """
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield try_lock(fd) and _is_named(fd, path)
    finally:
        os.close(fd)


@contextmanager
def try_hold_fence(path: Path) -> Generator[bool]:
    """As `open_free_fence`, but the file is made if it is missing: nobody else can take it then.

    Who removes it, too, does so within the block.
    """
    fence = Fence.try_take(path)
    try:
        yield fence is not None
    finally:
        if fence is not None:
            os.close(fence.fd)


def remove_free_fence(path: Path) -> None:
    """Remove the lock file at `path` if nobody holds it."""
    with suppress(FileNotFoundError), open_free_fence(path) as is_free:
        if is_free:
            path.unlink(missing_ok=True)


def _is_named(fd: int, path: Path) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)
