"""Statistics of a task from its cgroup's files, read by the plugin itself while somebody listens.

Rules:
- What the host does not count is not listed (`measured_fields`): unknown is not 0.
- A first sample has no CPU percentage; it is sent at once all the same.
"""

import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import trio

from trio_driver._proto import driver_pb2
from trio_driver.executor import ProcessSampler, follow_stats
from trio_driver.linux import cgroup
from trio_driver.model import Compute, timestamp_of
from trio_driver.sdk.tasks import KnownTask

MIN_INTERVAL_S = 0.1
"""An interval of 0 would keep the plugin busy with nothing else."""

CPU_FIELDS = driver_pb2.CPUUsage.Fields
MEMORY_FIELDS = driver_pb2.MemoryUsage.Fields


async def task_stats(
    task: KnownTask, compute: Compute, *, interval_s: float
) -> AsyncGenerator[driver_pb2.TaskStats]:
    """One sample at once, then one every `interval_s` seconds, until the task has ended or we are
    cancelled."""
    containment = task.record.containment
    if containment is None or not containment.kill_path:
        samples = follow_stats(task.run, interval_s=interval_s)
        async with aclosing(samples):
            async for stats in samples:
                yield stats
        return
    sampler = CgroupSampler(Path(containment.kill_path), Path(containment.memory_path), compute)
    while not task.ended.is_set():
        yield sampler.sample()
        with trio.move_on_after(max(interval_s, MIN_INTERVAL_S)):
            await task.ended.wait()


@dataclass(frozen=True, slots=True)
class _Cpu:
    """Microseconds since the cgroup was made, at a time in seconds."""

    user_us: int
    system_us: int
    throttled_periods: int | None
    throttled_us: int | None
    at_s: float


class CgroupSampler:
    """Samples one task."""

    def __init__(self, path: Path, memory_path: Path, compute: Compute) -> None:
        self._path = path
        self._memory_path = memory_path
        self._compute = compute
        self._before: _Cpu | None = None
        self._processes = ProcessSampler(compute)

    def sample(self) -> driver_pb2.TaskStats:
        """What the cgroup's files say now; a cgroup that is gone gives a sample without measured
        fields."""
        stats = driver_pb2.TaskStats(timestamp=timestamp_of(time.time()))
        usage = stats.agg_resource_usage
        usage.cpu.SetInParent()
        usage.memory.SetInParent()
        with contextlib.suppress(OSError):
            self._fill_cpu(usage.cpu)
        with contextlib.suppress(OSError):
            _fill_memory(usage.memory, self._memory_path)
        pids = cgroup.procs(self._path, recursive=True)
        for pid, process_usage in self._processes.sample(pids).items():
            stats.resource_usage_by_pid[str(pid)].CopyFrom(process_usage)
        return stats

    def _fill_cpu(self, cpu: driver_pb2.CPUUsage) -> None:
        now = _read_cpu(self._path)
        before, self._before = self._before, now
        if now.throttled_periods is not None and now.throttled_us is not None:
            cpu.throttled_periods = now.throttled_periods
            cpu.throttled_time = now.throttled_us * 1000
            cpu.measured_fields.extend([CPU_FIELDS.THROTTLED_PERIODS, CPU_FIELDS.THROTTLED_TIME])
        if before is None or now.at_s <= before.at_s:
            return
        elapsed_us = (now.at_s - before.at_s) * 1e6
        cpu.user_mode = (now.user_us - before.user_us) / elapsed_us * 100
        cpu.system_mode = (now.system_us - before.system_us) / elapsed_us * 100
        cpu.percent = cpu.user_mode + cpu.system_mode
        cpu.measured_fields.extend(
            [CPU_FIELDS.USER_MODE, CPU_FIELDS.SYSTEM_MODE, CPU_FIELDS.PERCENT]
        )
        if self._compute.cores:
            cpu.total_ticks = cpu.percent / 100 * self._compute.total_mhz / self._compute.cores
            cpu.measured_fields.append(CPU_FIELDS.TOTAL_TICKS)


def _read_cpu(path: Path) -> _Cpu:
    """Raises OSError if the cgroup is gone, or the hierarchy counts no CPU time."""
    try:
        values = cgroup.keyed(cgroup.read(path / "cpu.stat"))
    except FileNotFoundError:
        values = {}
    if "user_usec" not in values:
        raise FileNotFoundError(f"{path}: no CPU time is counted")
    return _Cpu(
        user_us=values["user_usec"],
        system_us=values["system_usec"],
        throttled_periods=values.get("nr_throttled"),
        throttled_us=values.get("throttled_usec"),
        at_s=time.monotonic(),
    )


V2_MEMORY = {"anon": "RSS", "file": "CACHE", "kernel": "KERNEL_USAGE"}
V1_MEMORY = {"total_rss": "RSS", "total_cache": "CACHE", "total_swap": "SWAP"}
"""Keys of memory.stat, and what Nomad calls them. Source: cgroup-v2.rst; cgroup-v1/memory.rst."""

V2_FILES = {"memory.current": "USAGE", "memory.swap.current": "SWAP", "memory.peak": "MAX_USAGE"}
V1_FILES = {
    "memory.usage_in_bytes": "USAGE",
    "memory.max_usage_in_bytes": "MAX_USAGE",
    "memory.kmem.usage_in_bytes": "KERNEL_USAGE",
    "memory.kmem.max_usage_in_bytes": "KERNEL_MAX_USAGE",
}
"""Files that hold one number."""


def _fill_memory(memory: driver_pb2.MemoryUsage, path: Path) -> None:
    """Raises OSError if the cgroup is gone, or memory is not counted."""
    keyed = cgroup.keyed(cgroup.read(path / "memory.stat"))
    is_v1 = "total_rss" in keyed
    values = {
        name: keyed[key]
        for key, name in (V1_MEMORY if is_v1 else V2_MEMORY).items()
        if key in keyed
    }
    for file, name in (V1_FILES if is_v1 else V2_FILES).items():
        with contextlib.suppress(OSError, ValueError):
            values[name] = int(cgroup.read(path / file))
    for name, value in values.items():
        setattr(memory, name.lower(), value)
        memory.measured_fields.append(getattr(MEMORY_FIELDS, name))
