"""What the processes of a run use, read from /proc: for hosts where no cgroup counts it.

Rules:
- What was not measured is not listed (`measured_fields`); the first sample has no CPU percentage to
  give.
- One pass an interval, and only while somebody listens.
"""

import contextlib
import os
import time
from collections.abc import AsyncGenerator, Collection, Iterable
from dataclasses import dataclass

import psutil
import trio

from trio_driver._proto import driver_pb2
from trio_driver.executor.task_run import TaskRun
from trio_driver.linux import descendants_of
from trio_driver.model import Compute, timestamp_of

MIN_INTERVAL_S = 0.1
"""An interval of 0 would keep the executor busy with nothing else."""

CPU_FIELDS = driver_pb2.CPUUsage.Fields
MEMORY_FIELDS = driver_pb2.MemoryUsage.Fields


@dataclass(frozen=True, slots=True)
class _Times:
    """CPU seconds of one process at its last sample."""

    user_s: float
    system_s: float
    at_s: float


class ProcessSampler:
    """Samples processes by pid, and remembers their last sample for the next."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._before: dict[int, _Times] = {}

    def sample(self, pids: Iterable[int]) -> dict[int, driver_pb2.TaskResourceUsage]:
        """What each of the processes uses now; those that are gone are left out."""
        now: dict[int, _Times] = {}
        usages: dict[int, driver_pb2.TaskResourceUsage] = {}
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                with process.oneshot():
                    cpu, memory = process.cpu_times(), process.memory_info()
                now[pid] = _Times(cpu.user, cpu.system, time.monotonic())
                usages[pid] = usage = driver_pb2.TaskResourceUsage()
                usage.memory.rss = memory.rss
                usage.memory.measured_fields.append(MEMORY_FIELDS.RSS)
                _fill_cpu(usage.cpu, self._before.get(pid), now[pid], self._compute)
        self._before = now
        return usages


async def sample_processes(
    task_run: TaskRun, *, interval_s: float
) -> AsyncGenerator[driver_pb2.TaskStats]:
    """One sample at once, then one every `interval_s` seconds, until the task has ended or we are
    cancelled."""
    sampler = ProcessSampler(task_run.compute)
    while not task_run.ended.is_set():
        stats = driver_pb2.TaskStats(timestamp=timestamp_of(time.time()))
        usages = sampler.sample(descendants_of(os.getpid()))
        for pid, usage in usages.items():
            stats.resource_usage_by_pid[str(pid)].CopyFrom(usage)
        _fill_total(stats.agg_resource_usage, usages.values())
        yield stats
        with trio.move_on_after(max(interval_s, MIN_INTERVAL_S)):
            await task_run.ended.wait()


def _fill_cpu(
    cpu: driver_pb2.CPUUsage, before: _Times | None, now: _Times, compute: Compute
) -> None:
    cpu.SetInParent()
    if before is None or now.at_s <= before.at_s:
        return
    seconds = now.at_s - before.at_s
    cpu.user_mode = (now.user_s - before.user_s) / seconds * 100
    cpu.system_mode = (now.system_s - before.system_s) / seconds * 100
    cpu.percent = cpu.user_mode + cpu.system_mode
    cpu.measured_fields.extend([CPU_FIELDS.USER_MODE, CPU_FIELDS.SYSTEM_MODE, CPU_FIELDS.PERCENT])
    if compute.cores:
        cpu.total_ticks = cpu.percent / 100 * compute.total_mhz / compute.cores
        cpu.measured_fields.append(CPU_FIELDS.TOTAL_TICKS)


def _fill_total(
    total: driver_pb2.TaskResourceUsage, usages: Collection[driver_pb2.TaskResourceUsage]
) -> None:
    """The sum; a field is measured if it was for any process."""
    total.cpu.SetInParent()
    total.memory.rss = sum(usage.memory.rss for usage in usages)
    total.memory.measured_fields.append(MEMORY_FIELDS.RSS)
    for usage in usages:
        total.cpu.user_mode += usage.cpu.user_mode
        total.cpu.system_mode += usage.cpu.system_mode
        total.cpu.percent += usage.cpu.percent
        total.cpu.total_ticks += usage.cpu.total_ticks
    measured = {field for usage in usages for field in usage.cpu.measured_fields}
    total.cpu.measured_fields.extend(sorted(measured))
