"""The kernel's log, for whom the out-of-memory killer killed.

Rules:
- A look starts at the oldest line that the kernel still has and is bounded; nothing is kept open.
- The kernel ends the line with what a process cannot choose: its name is searched from the right, and
  the cgroup is compared, not parsed.

It must not know whose processes these are.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

LINES_LIMIT = 20_000
"""Most lines of one look: the kernel keeps some thousand."""

_LINE_BYTES = 8192
"""Longer than any line: one read(2) gives one."""

CLOCK_SLACK_S = 1.0
"""The log's clock is not synchronised with ours. Source: Documentation/ABI/testing/dev-kmsg."""

_KILL = re.compile(r",task=(?P<name>.*),pid=(?P<pid>\d+),uid=\d+$")
_KILLED = re.compile(
    r"[Oo]ut of memory(?: \([^()]*\))?: Killed process (?P<pid>\d+) \((?P<name>.*)\) "
)


@dataclass(frozen=True, slots=True)
class OomKill:
    """One process that the kernel killed for its memory.

    `memory_cgroup` is where it was counted, below the hierarchy's root; None where the kernel did
    not say. `is_host_wide` is None likewise: whether the host was out of memory, or that cgroup.
    """

    pid: int
    name: str
    memory_cgroup: str | None
    is_host_wide: bool | None
    at_monotonic_s: float


def oom_kills(*, since_monotonic_s: float, memory_cgroup: str | None = None) -> list[OomKill]:
    """Whom the kernel killed for memory since then, oldest first; [] where its log may not be read.

    Args:
        memory_cgroup: also tell of kills in this cgroup and those below, by its path.

    Source: mm/oom_kill.c, `dump_oom_victim` (since Linux 4.19; at most ten in five seconds) and
    `__oom_kill_process`.
    """
    found: dict[int, OomKill] = {}
    for at_s, line in _lines():
        if at_s >= since_monotonic_s - CLOCK_SLACK_S and (kill := parse(line, at_s, memory_cgroup)):
            found.setdefault(kill.pid, kill)
    return list(found.values())


def parse(line: str, at_s: float, memory_cgroup: str | None) -> OomKill | None:
    """The kill that a line of the log tells of, if it is one."""
    if line.startswith("oom-kill:"):
        head, _, where = line.partition(",task_memcg=")
        # Our own cgroup is compared as a whole: a name in it may look like what follows.
        if memory_cgroup is None or not where.startswith(memory_cgroup):
            return None
        rest = where[len(memory_cgroup) :]
        if not rest.startswith((",task=", "/")) or (match := _KILL.search(rest)) is None:
            return None
        is_host_wide = head.endswith(",global_oom")
        return OomKill(int(match["pid"]), match["name"], memory_cgroup, is_host_wide, at_s)
    if (match := _KILLED.search(line)) is not None:
        return OomKill(int(match["pid"]), match["name"], None, None, at_s)
    return None


def _lines() -> Iterator[tuple[float, str]]:
    """The kernel's log: seconds on the monotonic clock, and the text."""
    try:
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # not there in a container; kept from ordinary users
        return
    try:
        for _ in range(LINES_LIMIT):
            try:
                record = os.read(fd, _LINE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while we read: go on with what is left
                    continue
                return
            head, _, text = record.partition(b";")
            fields = head.split(b",")
            if len(fields) >= 3 and fields[2].isdigit():
                line = text.partition(b"\n")[0].decode(errors="replace")
                yield int(fields[2]) / 1e6, line
    finally:
        os.close(fd)
