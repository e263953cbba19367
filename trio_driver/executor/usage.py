"""What a task uses, from two looks at its counters: a pure function, and the look at processes.

Rules:
- What was not measured is not listed (`measured_fields`). A CPU percentage needs two looks at the
  same counter, the second later and not smaller.
- Where no cgroup counts, the sum over the processes stands for the task, as Nomad's own executors
  have it.

Source: nomad-protocol §4.9.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trio_driver._proto import driver_pb2
from trio_driver.linux import (
    CLOCK_TICKS_PER_S,
    CpuUsage,
    MemoryUsage,
    ProcessUsage,
    Throttling,
    process_swap_bytes,
    process_usage,
)
from trio_driver.model import Compute

CPU = driver_pb2.CPUUsage.Fields
MEMORY = driver_pb2.MemoryUsage.Fields

US_PER_TICK = 1_000_000 // CLOCK_TICKS_PER_S


@dataclass(frozen=True, slots=True)
class ProcessLook:
    """One process at one moment; `swap_bytes` is None where it was not measured."""

    usage: ProcessUsage
    swap_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A task at one moment; None stands for what is not counted.

    `at_s` is on the monotonic clock.
    """

    at_s: float
    cpu: CpuUsage | None = None
    throttling: Throttling | None = None
    memory: MemoryUsage | None = None
    processes: Mapping[int, ProcessLook]


def look_at_processes(pids: Iterable[int], *, may_swap: bool) -> dict[int, ProcessLook]:
    """The processes that are there; `may_swap` is false where it is known that none is swapped out.

    Raises:
        OSError: /proc cannot be read, EMFILE for one.
    """
    found: dict[int, ProcessLook] = {}
    for pid in pids:
        if (usage := process_usage(pid)) is not None:
            found[pid] = ProcessLook(usage, process_swap_bytes(pid) if may_swap else 0)
    return found


def build_stats(before: Look | None, now: Look, compute: Compute) -> driver_pb2.TaskStats:
    """What the task uses at `now`, and has used since `before`; without a timestamp."""
    stats = driver_pb2.TaskStats()
    total = stats.agg_resource_usage
    elapsed_us = (now.at_s - before.at_s) * 1e6 if before is not None else 0.0
    spent = _cpu_spent(before, now)
    total.cpu.SetInParent()
    if spent is not None:
        _fill_cpu(total.cpu, spent, elapsed_us, compute)
    if now.throttling is not None:
        total.cpu.throttled_periods = now.throttling.periods
        total.cpu.throttled_time = now.throttling.time_ns
        total.cpu.measured_fields.extend((CPU.THROTTLED_PERIODS, CPU.THROTTLED_TIME))
    _fill_memory(total.memory, now.memory or _memory_of(now.processes.values()))
    for pid, process in now.processes.items():
        usage = stats.resource_usage_by_pid[str(pid)]
        usage.cpu.SetInParent()
        earlier = before.processes.get(pid) if before is not None else None
        if (process_spent := _process_spent(earlier, process)) is not None:
            _fill_cpu(usage.cpu, process_spent, elapsed_us, compute)
        usage.memory.rss = process.usage.rss_bytes
        usage.memory.measured_fields.append(MEMORY.RSS)
        if process.swap_bytes is not None:
            usage.memory.swap = process.swap_bytes
            usage.memory.measured_fields.append(MEMORY.SWAP)
    return stats


def _cpu_spent(before: Look | None, now: Look) -> CpuUsage | None:
    """CPU time between the looks."""
    if before is None:
        return None
    if now.cpu is not None:
        return _difference(before.cpu, now.cpu)
    spent = [
        process_spent
        for pid, process in now.processes.items()
        if (process_spent := _process_spent(before.processes.get(pid), process)) is not None
    ]
    if not spent:
        return None
    return CpuUsage(sum(each.user_us for each in spent), sum(each.system_us for each in spent))


def _difference(before: CpuUsage | None, now: CpuUsage) -> CpuUsage | None:
    if before is None or now.user_us < before.user_us or now.system_us < before.system_us:
        return None
    return CpuUsage(now.user_us - before.user_us, now.system_us - before.system_us)


def _process_spent(before: ProcessLook | None, now: ProcessLook) -> CpuUsage | None:
    if before is None or before.usage.start_ticks != now.usage.start_ticks:
        return None
    return _difference(_times_us(before.usage), _times_us(now.usage))


def _times_us(usage: ProcessUsage) -> CpuUsage:
    return CpuUsage(usage.user_ticks * US_PER_TICK, usage.system_ticks * US_PER_TICK)


def _fill_cpu(
    cpu: driver_pb2.CPUUsage, spent: CpuUsage, elapsed_us: float, compute: Compute
) -> None:
    if elapsed_us <= 0:
        return
    cpu.user_mode = spent.user_us / elapsed_us * 100
    cpu.system_mode = spent.system_us / elapsed_us * 100
    cpu.percent = cpu.user_mode + cpu.system_mode
    cpu.measured_fields.extend((CPU.USER_MODE, CPU.SYSTEM_MODE, CPU.PERCENT))
    if compute.cores:
        cpu.total_ticks = cpu.percent / 100 * compute.total_mhz / compute.cores
        cpu.measured_fields.append(CPU.TOTAL_TICKS)


def _memory_of(processes: Iterable[ProcessLook]) -> MemoryUsage:
    """Sums; no sum of swap if it is not known of one of them."""
    swaps = [process.swap_bytes for process in processes]
    known = [swap for swap in swaps if swap is not None]
    return MemoryUsage(
        rss=sum(process.usage.rss_bytes for process in processes),
        swap=sum(known) if len(known) == len(swaps) else None,
    )


def _fill_memory(memory: driver_pb2.MemoryUsage, now: MemoryUsage) -> None:
    memory.SetInParent()
    if now.rss is not None:
        memory.rss = now.rss
        memory.measured_fields.append(MEMORY.RSS)
    if now.cache is not None:
        memory.cache = now.cache
        memory.measured_fields.append(MEMORY.CACHE)
    if now.max_usage is not None:
        memory.max_usage = now.max_usage
        memory.measured_fields.append(MEMORY.MAX_USAGE)
    if now.kernel is not None:
        memory.kernel_usage = now.kernel
        memory.measured_fields.append(MEMORY.KERNEL_USAGE)
    if now.kernel_max is not None:
        memory.kernel_max_usage = now.kernel_max
        memory.measured_fields.append(MEMORY.KERNEL_MAX_USAGE)
    if now.usage is not None:
        memory.usage = now.usage
        memory.measured_fields.append(MEMORY.USAGE)
    if now.swap is not None:
        memory.swap = now.swap
        memory.measured_fields.append(MEMORY.SWAP)
