"""The watch over executors: what happens when one dies, or when the plugin of an uncommitted one
does.

Owns: a pidfd of every executor of the state directory and of the plugins that asked for them, the
runs that are being settled, the hunt for strays. Has no loop: the caller polls `pidfds`, reports
deaths, and calls `step` when it says.

Rules:
- Nothing here waits. What must be repeated until it holds (kill until empty, then remove) is due
  again a little later.
- A committed executor is never touched while it lives.
"""

import contextlib
import logging
import os
import signal
from dataclasses import dataclass

from trio_driver.linux import ProcessId, children_of, open_pidfd, signal_pidfd
from trio_driver.state import (
    LOST_REASON,
    RecordError,
    Run,
    RunState,
    StateDirectory,
    fence_owner,
    kill_remains,
    kill_run,
    read_executor_or_none,
    settle_run,
)

LOGGER = logging.getLogger("trio_driver.spawner")

PROVISIONAL_GRACE_S = 1.0
"""What a healthy executor may take to notice that its plugin is gone and to take its run down:
milliseconds, and more only on a host that swaps."""

RETRY_S = 0.005
"""Pause between two attempts to empty a cgroup or to end all strays."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One living executor."""

    run: Run
    process: ProcessId
    plugin: ProcessId


class Watch:
    """See the module."""

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._executors: dict[int, Watched] = {}
        self._plugins: dict[int, ProcessId] = {}
        self._doomed: dict[str, float] = {}
        """When an uncommitted run is killed, by run name."""
        self._settling: dict[str, Run] = {}
        self._hunting = False

    @property
    def pidfds(self) -> list[int]:
        """Poll these for reading; a readable one has died, see `report_death`."""
        return [*self._executors, *self._plugins]

    @property
    def is_busy(self) -> bool:
        """Whether an executor lives or something of a dead one is still to be done."""
        return bool(self._executors or self._settling or self._hunting)

    def watch_all(self) -> bool:
        """Take over every run of the state directory: those that live, and what dead executors
        left.

        Returns whether all could be: False while an executor has its fence and directory, but no
        record yet.
        """
        self._state.remove_doomed_runs()
        known = {watched.run.name for watched in self._executors.values()} | self._settling.keys()
        is_complete = True
        for run in self._state.runs():
            if run.name not in known:
                is_complete = self._take_over(run) and is_complete
        return is_complete

    def _take_over(self, run: Run) -> bool:
        """Whether the run is dealt with."""
        try:
            state = run.state()
        except RecordError as error:
            LOGGER.error("cannot watch a run: %s", error)
            return True
        if state is None or state is RunState.ENDED:
            return True
        record = read_executor_or_none(run)
        if record is None and fence_owner(self._state.lock_path(run.fence)) is not None:
            return False
        if state is RunState.LOST or record is None:
            self._settling[run.name] = run
            return True
        try:
            pidfd = open_pidfd(record.process)
        except ProcessLookupError:
            self._settling[run.name] = run
        else:
            self.add(pidfd, Watched(run, record.process, record.plugin))
        return True

    def add(self, pidfd: int, watched: Watched) -> None:
        """Watch an executor from now on; the pidfd is ours to close."""
        self._executors[pidfd] = watched
        if watched.plugin in self._plugins.values():
            return
        try:
            self._plugins[open_pidfd(watched.plugin)] = watched.plugin
        except ProcessLookupError:
            self._doomed.setdefault(watched.run.name, 0.0)

    def report_death(self, pidfd: int, now_s: float) -> None:
        """The process behind `pidfd` has ended."""
        os.close(pidfd)
        if (watched := self._executors.pop(pidfd, None)) is not None:
            self._doomed.pop(watched.run.name, None)
            self._settling[watched.run.name] = watched.run
            self._hunting = True
            return
        plugin = self._plugins.pop(pidfd)
        for watched in self._executors.values():
            if watched.plugin == plugin and not watched.run.is_committed():
                self._doomed[watched.run.name] = now_s + PROVISIONAL_GRACE_S

    def step(self, now_s: float) -> float | None:
        """Do what is due. Returns seconds until the next call is wanted, None for "when something
        dies"."""
        for pidfd, watched in self._executors.items():
            if now_s >= self._doomed.get(watched.run.name, now_s + 1):
                self._kill_uncommitted(pidfd, watched)
        for run in list(self._settling.values()):
            self._settle(run)
        if self._hunting:
            self._hunting = self._kill_strays()
        if self._settling or self._hunting:
            return RETRY_S
        return min((due - now_s for due in self._doomed.values()), default=None)

    def _kill_uncommitted(self, pidfd: int, watched: Watched) -> None:
        del self._doomed[watched.run.name]
        if watched.run.is_committed():
            return
        LOGGER.warning(
            "kills an executor that outlived its plugin uncommitted: %s", watched.run.name
        )
        kill_run(watched.run)
        signal_pidfd(pidfd, signal.SIGKILL)

    def _settle(self, run: Run) -> None:
        if kill_remains(run):
            return
        del self._settling[run.name]
        try:
            settled = settle_run(run, reason=LOST_REASON)
        except RecordError as error:
            LOGGER.error("cannot settle a run: %s", error)
        else:
            LOGGER.info("run %s ended: %s", run.name, settled.exit if settled else "destroyed")

    def _kill_strays(self) -> bool:
        """Kill our children that are no executors; whether there were any."""
        executors = {watched.process.pid for watched in self._executors.values()}
        strays = [pid for pid in children_of(os.getpid()) if pid not in executors]
        for pid in strays:
            # A child of ours keeps its pid until we reap it, which only our own loop does.
            # An ordinary user may not kill a set-id program; the next look finds it again.
            with contextlib.suppress(PermissionError):
                os.kill(pid, signal.SIGKILL)
        return bool(strays)
