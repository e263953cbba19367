"""File descriptors: closing inherited ones, opening what a task may have swapped, and pipes.

Rules:
- A path below a directory that tasks can write is walked component by component and never through a
  symbolic link.
- What a name leads to is pinned (O_PATH: no side effect, never blocks), looked at, and only then
  opened, through the pin: what was checked is what is used.
- Every fd made here is close-on-exec.

It must not know whose files these are.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import stat
import struct
import termios
from collections.abc import Collection

_DIRECTORY_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotAFifoError(OSError):
    """There is something else where a log pipe was expected."""


def fd_count() -> int:
    """How many fds this process has open."""
    return len(_list_fds()) - 1  # the listing itself needs one


def close_all_except(fds: Collection[int]) -> None:
    """Close every fd of this process but `fds`. For a freshly forked child: it has one thread.

    Works with a full fd table. Fds that are not open are no error.

    Raises:
        OSError: the fds cannot be listed: no /proc, or no room although `fds` is all there is.
    """
    keep = frozenset(fds)
    # os.closerange is no way: without close_range(2) it tries every number up to its end.
    for fd in _open_fds(keep):
        if fd not in keep:
            _close(fd)


def _open_fds(keep: frozenset[int]) -> list[int]:
    try:
        return _list_fds()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
    # The table is full, so every number below the limit is open: closing one makes room.
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(limit):
        if number not in keep and _close(number):
            break
    return _list_fds()


def _list_fds() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]


def _close(fd: int) -> bool:
    try:
        os.close(fd)
    except OSError as error:
        # After any other error (EIO of a network file system) the number is free: close(2).
        return error.errno != errno.EBADF
    return True


def open_beneath(dir_fd: int, path: str, flags: int, *, mode: int = 0o600) -> int:
    """Open the relative `path` below `dir_fd` without following a symbolic link anywhere.

    `flags` as for open(2); close-on-exec and O_NOFOLLOW are added. Without O_NONBLOCK a FIFO blocks
    here as in open(2).

    Raises:
        ValueError: `path` is absolute, empty or holds "..".
        NotADirectoryError: a component is no directory, or is a symbolic link.
        OSError: ELOOP if the last component is a symbolic link; anything else open(2) can say. All
            carry `path`.
    """
    components = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or not components or ".." in components:
        raise ValueError(f"not a path below a directory: {path!r}")
    current = dir_fd
    try:
        for component in components[:-1]:
            below = os.open(component, _DIRECTORY_FLAGS, dir_fd=current)
            if current != dir_fd:
                os.close(current)
            current = below
        return _open_last(current, components[-1], flags, mode)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from error
    finally:
        if current != dir_fd:
            os.close(current)


def _open_last(dir_fd: int, name: str, flags: int, mode: int) -> int:
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=dir_fd)
    # O_PATH with O_NOFOLLOW succeeds on a symbolic link: it opens the link itself.
    if flags & os.O_PATH and stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return fd


def open_fifo_writer(dir_fd: int, path: str) -> int | None:
    """The write end of the FIFO at `path` below `dir_fd`; None while nobody has it open to read.

    Never blocks and never opens anything but a FIFO. The fd it returns blocks in write(2), as a
    task expects of its stdout.

    Raises:
        NotAFifoError: the path leads to something else.
        FileNotFoundError: there is nothing.
        ValueError, NotADirectoryError, OSError: as `open_beneath`.

    Source: fifo(7), open(2) ENXIO.
    """
    pin = open_beneath(dir_fd, path, os.O_PATH)
    try:
        if not stat.S_ISFIFO(os.fstat(pin).st_mode):
            raise NotAFifoError(errno.EINVAL, "not a FIFO", path)
        writer = os.open(f"/proc/self/fd/{pin}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except NotAFifoError:
        raise
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from error
    finally:
        os.close(pin)
    os.set_blocking(writer, True)
    return writer


def open_fifo_reader(writer: int) -> int:
    """A read end of the very FIFO behind `writer`, never to be read: it spares writers SIGPIPE.

    Take it after the write end: opened first, it would hide that nobody else reads. Does not block.

    Raises:
        PermissionError: the FIFO may not be read by this process.
    """
    return os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def queued_bytes(pipe: int) -> int:
    """How many bytes wait in the pipe or FIFO behind `pipe` (either end).

    Source: pipe(7), FIONREAD.
    """
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


def is_pipe_full(writer: int) -> bool:
    """Whether a write to `writer` would block now: no slot is free (small writes fill it early)."""
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    return not any(events & select.POLLOUT for _, events in poll.poll(0))
