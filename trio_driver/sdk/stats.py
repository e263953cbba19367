"""Statistics of tasks, read by the plugin itself from cgroup files while somebody listens.

Whose figures: CPU time and processes are the run's alone, sessions that were executed in it included.
Memory and throttling are those of the cgroup that has the limits: Nomad's, for a task that Nomad
made one for, which all runs of the task share one after the other.

Rules:
- What the host does not count is not listed (`measured_fields`): unknown is not 0. A first sample has
  no CPU percentage, and neither has a process that was not there before.
- All streams of one interval look at the same moments, so that many tasks are one pass of the
  plugin, and leave in one write.
- A task of which nothing ran is not looked at: its CPU time says so.
"""

import logging
import math
import resource
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path

import trio

from trio_driver._proto import driver_pb2
from trio_driver.executor import Look, build_stats, follow_stats, look_at_processes
from trio_driver.linux import CgroupUsage, Descriptors, cgroup
from trio_driver.model import Compute
from trio_driver.sdk.tasks import KnownTask
from trio_driver.state import ContainmentRecord

LOGGER = logging.getLogger("trio_driver.sdk")

MIN_INTERVAL_S = 0.1
"""An interval of 0 would keep the plugin busy with nothing else."""

FULL_LOOK_S = 10.0
"""Longest time without a whole look: the kernel may take memory from a task that does not run."""

DESCRIPTOR_SHARE = 4
"""Of so many descriptors that this process may have, one is kept for statistics, not more."""

MAX_DESCRIPTORS = 65_536
"""Kept where this process may have any number: those of some thousand tasks."""


class TaskStatistics:
    """Statistics of all tasks of a plugin."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        kept = MAX_DESCRIPTORS if limit == resource.RLIM_INFINITY else limit // DESCRIPTOR_SHARE
        self._descriptors = Descriptors(kept)

    async def follow(
        self, task: KnownTask, *, interval_s: float
    ) -> AsyncGenerator[driver_pb2.TaskStats]:
        """One sample at once, then one every `interval_s` seconds, until the task has ended or we
        are cancelled. Each sample is valid until the next is asked for.

        Raises:
            ExecutorLostError: no cgroup counts, and the executor gives no statistics.
        """
        containment = task.record.containment
        if containment is None or not containment.kill_path:
            async with aclosing(follow_stats(task.run, interval_s=interval_s)) as samples:
                async for stats in samples:
                    yield stats
            return
        interval_s = max(interval_s, MIN_INTERVAL_S)
        with closing(usage_of(containment, self._descriptors)) as usage:
            sampler = CgroupSampler(usage, self._compute)
            while not task.ended.is_set():
                try:
                    yield sampler.sample()
                except OSError as error:
                    if cgroup.is_gone(error):
                        return
                    LOGGER.warning("no statistics this time: %s", error)
                await trio.sleep_until(next_look_s(trio.current_time(), interval_s))


def next_look_s(now_s: float, interval_s: float) -> float:
    """When to look again: at a multiple of the interval, at least half of it from now."""
    return math.ceil(now_s / interval_s + 0.5) * interval_s


def usage_of(containment: ContainmentRecord, descriptors: Descriptors) -> CgroupUsage:
    """The counters of a run in a cgroup."""
    return CgroupUsage(
        run=Path(containment.kill_path),
        memory=Path(containment.memory_path) if containment.memory_path else None,
        cpu=Path(containment.cpu_path) if containment.cpu_path else None,
        descriptors=descriptors,
    )


class CgroupSampler:
    """Samples one task for one listener."""

    def __init__(self, usage: CgroupUsage, compute: Compute) -> None:
        self._usage = usage
        self._compute = compute
        self._look: Look | None = None
        self._full_look_s = -math.inf
        self._stats = driver_pb2.TaskStats()
        self._is_still = False
        """`_stats` says already that nothing ran."""

    def sample(self) -> driver_pb2.TaskStats:
        """What the task uses now.

        Raises:
            OSError: the cgroup is gone, or something is in the way of a look.
        """
        now_s = time.monotonic()
        is_due = now_s - self._full_look_s > FULL_LOOK_S
        if self._usage.has_changed() or is_due or self._look is None:
            self._tell(self._look_now(now_s))
            self._full_look_s, self._is_still = now_s, False
        elif not self._is_still:
            self._tell(replace(self._look, at_s=now_s))
            self._is_still = True
        else:
            self._look = replace(self._look, at_s=now_s)
        self._stats.timestamp.FromNanoseconds(time.time_ns())
        return self._stats

    def _tell(self, now: Look) -> None:
        self._stats = build_stats(self._look, now, self._compute)
        self._look = now

    def _look_now(self, now_s: float) -> Look:
        memory = self._usage.memory()
        may_swap = memory is None or memory.swap != 0
        return Look(
            at_s=now_s,
            cpu=self._usage.cpu(),
            throttling=self._usage.throttling(),
            memory=memory,
            processes=look_at_processes(self._usage.pids(), may_swap=may_swap),
        )
