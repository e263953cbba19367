"""What a process uses, from /proc, and files of the kernel that are read again and again.

Rules:
- One system call a look where one is enough: a file of the kernel says something new each time it is
  read from its start, through the same descriptor.
- A process names itself, with any bytes: nothing before the last parenthesis of its stat is parsed.

It must not know what the figures are for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from trio_driver.linux.cgroup_files import READ_LIMIT_BYTES

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
"""Unit of the times in /proc/PID/stat."""

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_LOOK_BYTES = 4096
"""Longer than nearly all that is read; what is longer takes another read."""


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What one process has used since its start, and holds now.

    `start_ticks` tells it from a later process with its pid. Children that it waited for are not
    counted. Its memory is resident, shared pages included.
    """

    start_ticks: int
    user_ticks: int
    system_ticks: int
    rss_bytes: int


def process_usage(pid: int) -> ProcessUsage | None:
    """What `pid` uses; None when it is gone.

    Raises:
        OSError: /proc cannot be read for another reason, EMFILE for one.

    Source: proc(5), /proc/PID/stat fields 14, 15 and 22; /proc/PID/statm field 2, for that of stat
    lags behind by hundreds of pages.
    """
    try:
        data = _read_once(f"/proc/{pid}/stat")
        pages = _read_once(f"/proc/{pid}/statm").split(maxsplit=2)[1]
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields are counted from 1; the first after the name is the third.
    fields = data[data.rfind(b")") + 2 :].split(maxsplit=20)
    return ProcessUsage(
        start_ticks=int(fields[19]),
        user_ticks=int(fields[11]),
        system_ticks=int(fields[12]),
        rss_bytes=int(pages) * PAGE_BYTES,
    )


def process_swap_bytes(pid: int) -> int | None:
    """How much of `pid` is swapped out; None when it is gone, has no memory, or it is not counted.

    Raises:
        OSError: as `process_usage`.

    Source: proc(5), /proc/PID/status, VmSwap.
    """
    try:
        data = _read_once(f"/proc/{pid}/status")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A name cannot fake the line: a newline in it is escaped here.
    value = data.partition(b"\nVmSwap:")[2].split(maxsplit=1)
    return int(value[0]) * 1024 if value else None


def _read_once(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LOOK_BYTES)
    finally:
        os.close(fd)


class Descriptors:
    """How many descriptors may be kept open for files that are read again and again.

    Args:
        limit: beyond it a file is opened for each look: slower, and nothing runs out of descriptors.
    """

    def __init__(self, limit: int) -> None:
        self.left = limit


class KeptFile:
    """A file of the kernel that is read again and again."""

    __slots__ = ("_descriptors", "_fd", "_is_absent", "_path")

    def __init__(self, path: str, descriptors: Descriptors) -> None:
        self._path = path
        self._descriptors = descriptors
        self._fd = -1
        self._is_absent = False

    def read(self, *, limit_bytes: int = READ_LIMIT_BYTES) -> bytes | None:
        """What it says now, at most `limit_bytes`; None when there was no such file at the first
        look.

        Raises:
            OSError: what the kernel answered; ENODEV when its cgroup has been removed since.
        """
        if self._is_absent:
            return None
        fd = self._fd if self._fd >= 0 else self._open()
        if fd < 0:
            return None
        try:
            return self._read_fd(fd, limit_bytes)
        finally:
            if self._fd < 0:
                os.close(fd)

    def close(self) -> None:
        """Close the descriptor; nothing is read after that."""
        self._is_absent = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._descriptors.left += 1

    def _open(self) -> int:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._is_absent = True
            return -1
        if self._descriptors.left > 0:
            self._descriptors.left -= 1
            self._fd = fd
        return fd

    @staticmethod
    def _read_fd(fd: int, limit_bytes: int) -> bytes:
        data = os.pread(fd, min(_LOOK_BYTES, limit_bytes), 0)
        if len(data) < _LOOK_BYTES // 2:  # files of the kernel give short reads only at their end
            return data
        parts = [data]
        size = len(data)
        while size < limit_bytes and (data := os.pread(fd, min(65_536, limit_bytes - size), size)):
            parts.append(data)
            size += len(data)
        return b"".join(parts)
