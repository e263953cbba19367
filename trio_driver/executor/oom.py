"""Whether the kernel killed processes of the run for memory, and which: from evidence alone.

Evidence is the counter of the memory's cgroup. It adds up over the runs of a scope, so it is compared
with what it said at the start. Whom it killed is in the kernel's log, which is read only when the
counter has risen.

Rules:
- No counter, or one that has not risen: nobody was killed for memory, whatever signal ended them.
- A victim that the log does not name for certain is not named.
"""

import time
from collections.abc import Collection
from pathlib import Path

from trio_driver.linux import OomKill, cgroup, oom_kills


class OomEvidence:
    """The evidence of one run, from before its first process on."""

    def __init__(self, memory_path: Path | None, *, below: str | None) -> None:
        """Args:
        memory_path: the cgroup that the run's memory is counted in, if there is one.
        below: the same as the kernel's log names it.
        """
        self.kills = 0
        """How many processes were killed, as far as was looked."""
        self._memory_path = memory_path
        self._below = below
        self._told = 0
        self._victims: dict[int, OomKill] = {}
        self._since_s = time.monotonic()
        self._kills_before = self._count()

    def look(self) -> None:
        """Look at the counter. It goes with a cgroup of ours, so this comes before each kill of ours."""
        self.kills = max(self.kills, self._count() - self._kills_before)

    def take_news(self, known_pids: Collection[int]) -> tuple[int, list[OomKill]]:
        """How many were killed since the last call, and those of them that are known.

        Args:
            known_pids: processes that are certainly the run's.
        """
        self.look()
        new, self._told = self.kills - self._told, self.kills
        if new <= 0:
            return 0, []
        found = [
            kill
            for kill in oom_kills(since_monotonic_s=self._since_s, memory_cgroup=self._below)
            if kill.pid not in self._victims
            and (kill.memory_cgroup is not None or kill.pid in known_pids)
        ]
        self._victims |= {kill.pid: kill for kill in found}
        return new, found

    def is_victim(self, pid: int) -> bool:
        """Whether the kernel's log names `pid` among those that were told."""
        return pid in self._victims

    def _count(self) -> int:
        if self._memory_path is None:
            return 0
        return cgroup.oom_kill_count(self._memory_path) or 0
