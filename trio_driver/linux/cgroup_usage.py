"""What the processes of a cgroup use, read again and again through descriptors that stay open.

Rules:
- What the kernel does not count is None, never 0.
- Where nothing has run, nothing has changed: a cgroup whose CPU time and memory are the same to the
  last digit is not looked at any further.
- Work is bounded, whatever a task does: so many members a look, so many cgroups below the first.

It must not know which cgroup counts what: it is told.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from trio_driver.linux.cgroup_tree import procs_at, walk
from trio_driver.linux.usage import Descriptors, KeptFile

PIDS_LIMIT = 1000
"""Members that one look lists; the sums of a cgroup count all of them."""

DIRECTORIES_LIMIT = 128
"""Cgroups below the first whose members one look lists."""

_PIDS_BYTES = 16_384
"""More than `PIDS_LIMIT` pids take."""

_LEAF_LINKS = 2
"""Of a directory of cgroups: one more for each cgroup right below it."""


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """CPU time since the cgroup was made."""

    user_us: int
    system_us: int


@dataclass(frozen=True, slots=True)
class Throttling:
    """How often, and for how long, a cgroup waited for its quota since it was made."""

    periods: int
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsage:
    """Memory of a cgroup in bytes; None where the kernel does not count it."""

    rss: int | None = None
    """Anonymous memory."""
    cache: int | None = None
    usage: int | None = None
    """All that counts against the limit."""
    max_usage: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_max: int | None = None


class CgroupUsage:
    """The counters of one run.

    Args:
        run: the cgroup of which every process of the run is a member, or below.
        memory: the cgroup that its memory is counted in, if it is.
        cpu: the cgroup that a CPU quota is set for, if there is one.
        descriptors: how many may be kept open.
    """

    def __init__(
        self, *, run: Path, memory: Path | None, cpu: Path | None, descriptors: Descriptors
    ) -> None:
        self._run = run
        self._memory = memory
        self._cpu = cpu
        self._descriptors = descriptors
        self._files: dict[tuple[bool, str], KeptFile] = {}
        # v1 repeats an old list to a descriptor that is read again within a second.
        self._members = KeptFile(f"{run}/cgroup.procs", Descriptors(limit=0))
        self._before: tuple[bytes | None, bytes | None] | None = None
        self._run_fd = -1

    def close(self) -> None:
        """Close the descriptors."""
        for file in self._files.values():
            file.close()
        if self._run_fd >= 0:
            os.close(self._run_fd)
            self._run_fd = -1

    def has_changed(self) -> bool:
        """Whether something of the run may have changed since the last call.

        Raises:
            OSError: the cgroup is gone.
        """
        now = self._cpu_times(), self._memory_in_use()
        before, self._before = self._before, now if now[0] is not None else None
        return before is None or before != now

    def cpu(self) -> CpuUsage | None:
        """CPU time of all processes that are or were in the run.

        Raises:
            OSError: the cgroup is gone.

        Source: cgroup-v2.rst, cpu.stat, which is in every cgroup; cgroup-v1/cpuacct.rst.
        """
        if (data := self._read(self._run, "cpu.stat")) is not None:
            user_us, system_us = _value(data, b"user_usec"), _value(data, b"system_usec")
            if user_us is not None and system_us is not None:
                return CpuUsage(user_us, system_us)
        user_ns = self._number(self._cpu, "cpuacct.usage_user")
        system_ns = self._number(self._cpu, "cpuacct.usage_sys")
        if user_ns is None or system_ns is None:
            return None
        return CpuUsage(user_ns // 1000, system_ns // 1000)

    def throttling(self) -> Throttling | None:
        """What the quota did.

        Raises:
            OSError: the cgroup is gone.

        Source: cgroup-v2.rst, cpu.stat; sched-bwc.rst for v1, where the unit is another.
        """
        data = self._read(self._cpu, "cpu.stat")
        if data is None or (periods := _value(data, b"nr_throttled")) is None:
            return None
        if (time_us := _value(data, b"throttled_usec")) is not None:
            return Throttling(periods, time_us * 1000)
        time_ns = _value(data, b"throttled_time")
        return None if time_ns is None else Throttling(periods, time_ns)

    def memory(self) -> MemoryUsage | None:
        """What the memory's cgroup holds now; None if there is none.

        Raises:
            OSError: the cgroup is gone.

        Source: cgroup-v2.rst, "Memory Interface Files"; cgroup-v1/memory.rst.
        """
        stat = self._read(self._memory, "memory.stat")
        if stat is None:
            return None
        if (rss := _value(stat, b"total_rss")) is not None:
            return MemoryUsage(
                rss=rss,
                cache=_value(stat, b"total_cache"),
                swap=_value(stat, b"total_swap"),
                usage=self._number(self._memory, "memory.usage_in_bytes"),
                max_usage=self._number(self._memory, "memory.max_usage_in_bytes"),
                kernel=self._number(self._memory, "memory.kmem.usage_in_bytes"),
                kernel_max=self._number(self._memory, "memory.kmem.max_usage_in_bytes"),
            )
        return MemoryUsage(
            rss=_value(stat, b"anon"),
            cache=_value(stat, b"file"),
            kernel=_value(stat, b"kernel"),
            swap=self._number(self._memory, "memory.swap.current"),
            usage=self._number(self._memory, "memory.current"),
            max_usage=self._number(self._memory, "memory.peak"),
        )

    def pids(self) -> list[int]:
        """Members of the run's cgroup and of those below, at most `PIDS_LIMIT`.

        Raises:
            OSError: the cgroup is gone.
        """
        if self._run_fd < 0:
            self._run_fd = os.open(self._run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(_ThreadedError):
            if os.fstat(self._run_fd).st_nlink == _LEAF_LINKS:
                return self._own_pids()
        with contextlib.closing(walk(self._run)) as directories:
            members = map(procs_at, itertools.islice(directories, DIRECTORIES_LIMIT))
            pids = dict.fromkeys(itertools.chain.from_iterable(members))
        return list(itertools.islice(pids, PIDS_LIMIT))

    def _own_pids(self) -> list[int]:
        try:
            data = self._members.read(limit_bytes=_PIDS_BYTES)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise _ThreadedError from error
            raise
        if data is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._run))
        # The last line may be cut; 0 is a process outside our pid namespace.
        whole = data[: data.rfind(b"\n") + 1].split()
        return [pid for line in whole[:PIDS_LIMIT] if (pid := int(line))]

    def _cpu_times(self) -> bytes | None:
        times = self._read(self._run, "cpu.stat")
        return self._read(self._cpu, "cpuacct.usage") if times is None else times

    def _memory_in_use(self) -> bytes | None:
        used = self._read(self._memory, "memory.current")
        return self._read(self._memory, "memory.usage_in_bytes") if used is None else used

    def _read(self, directory: Path | None, name: str) -> bytes | None:
        return None if directory is None else self._file(directory, name).read()

    def _file(self, directory: Path, name: str) -> KeptFile:
        key = (directory is self._run, name)
        if (file := self._files.get(key)) is None:
            file = self._files[key] = KeptFile(f"{directory}/{name}", self._descriptors)
        return file

    def _number(self, directory: Path | None, name: str) -> int | None:
        data = self._read(directory, name)
        return int(data) if data is not None and data.strip().isdigit() else None


class _ThreadedError(Exception):
    """The cgroup has threads and no processes."""


def _value(data: bytes, key: bytes) -> int | None:
    """The number of one line of a "flat keyed" file; None if it has no such line."""
    if data.startswith(key + b" "):
        begin = len(key) + 1
    else:
        at = data.find(b"\n" + key + b" ")
        if at < 0:
            return None
        begin = at + len(key) + 2
    end = data.find(b"\n", begin)
    return int(data[begin : end if end >= 0 else None])
