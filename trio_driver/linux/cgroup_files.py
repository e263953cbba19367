"""The files of a cgroup: reading, writing, and what their text says.

Rules:
- Every write is one write(2) whose result is checked: the kernel judges a value as a whole, and a
  buffered file object would report EBUSY when it is closed, or never.
- Errors carry the path; those of a write the value, too.

It must not know which values are wise.
"""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

READ_LIMIT_BYTES = 4 * 1024 * 1024
"""Most that is read of one file, half a million pids: a list that grows while read must end."""

_READ_BYTES = 65_536

_MAX_SHARES = 262_144
_MAX_WEIGHT = 10_000
# Source: cgroup-v1/cpu.shares and cgroup-v2.rst "cpu.weight".


def is_gone(error: OSError) -> bool:
    """Whether `error` says that the cgroup is removed: ENOENT before the open, ENODEV after it."""
    return error.errno in (errno.ENOENT, errno.ENODEV)


def write(path: Path, value: str) -> None:
    """Write `value` to the cgroup file at `path`.

    Raises:
        FileNotFoundError: no such cgroup, or the kernel has no such file in it.
        OSError: what the kernel answered, EBUSY and EINVAL among it; with path and value.
    """
    write_at(None, str(path), value)


def write_at(dir_fd: int | None, path: str, value: str) -> None:
    """As `write`, with `path` below `dir_fd`."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)
        try:
            written = os.write(fd, data := value.encode())
        finally:
            os.close(fd)
        if written != len(data):
            raise OSError(errno.EIO, f"{written} of {len(data)} bytes taken")
    except OSError as error:
        message = f"{error.strerror}: writing {value!r}"
        raise OSError(error.errno, message, _full_path(dir_fd, path)) from error


def read(path: Path) -> str:
    """The text of the cgroup file at `path`, at most `READ_LIMIT_BYTES` of it.

    Raises:
        FileNotFoundError: no such cgroup, or the kernel has no such file in it.
        OSError: what the kernel answered, with the path; ENODEV if the cgroup was removed
            meanwhile.
    """
    return read_at(None, str(path))


def read_at(dir_fd: int | None, path: str) -> str:
    """As `read`, with `path` below `dir_fd`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)
        try:
            return read_fd(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, _full_path(dir_fd, path)) from error


def read_fd(fd: int) -> str:
    """The text of an open cgroup file from its start, at most `READ_LIMIT_BYTES`."""
    data = bytearray()
    while len(data) < READ_LIMIT_BYTES and (chunk := os.pread(fd, _READ_BYTES, len(data))):
        data += chunk
    return data.decode(errors="surrogateescape")


def _full_path(dir_fd: int | None, path: str) -> str:
    """For error messages: `path` with the directory that it is in."""
    if dir_fd is None:
        return path
    try:
        return f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{path}"
    except OSError:  # ENAMETOOLONG: a task can nest cgroups deeper than a path can say
        return f"(a deep cgroup)/{path}"


def keyed(text: str) -> dict[str, int]:
    """The numbers of a "flat keyed" file, such as memory.events; other lines are left out.

    Source: cgroup-v2.rst, "Interface Files".
    """
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def controllers(path: Path) -> frozenset[str]:
    """The controllers that the v2 cgroup at `path` has.

    Raises:
        OSError: as `read`; FileNotFoundError for a v1 cgroup.
    """
    return frozenset(read(path / "cgroup.controllers").split())


def oom_kill_count(path: Path) -> int | None:
    """How many processes the kernel killed for want of memory in the cgroup, since it was made.

    v2 counts descendants too, v1 only the cgroup itself. None: not counted here (no memory
    controller, or the cgroup is gone).

    Source: cgroup-v2.rst, memory.events; Linux 4.13, memory.oom_control "oom_kill".
    """
    for name in ("memory.events", "memory.oom_control"):
        try:
            text = read(path / name)
        except OSError as error:
            if not is_gone(error):
                raise
        else:
            return keyed(text).get("oom_kill")
    return None


def cpu_weight_of_shares(shares: int) -> int:
    """The v2 cpu.weight for v1 cpu.shares: 1024 shares are weight 100; 0 stays 0 (not set).

    Source: Nomad since 1.11.1 (as runc); earlier it was linear.
    """
    if shares <= 0:
        return 0
    if shares <= 2:
        return 1
    if shares >= _MAX_SHARES:
        return _MAX_WEIGHT
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))
