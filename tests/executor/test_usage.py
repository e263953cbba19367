"""Two looks make a sample: nothing is invented."""

import os
from collections.abc import Mapping

import pytest

from trio_driver._proto import driver_pb2
from trio_driver.executor import Look, ProcessLook, build_stats, look_at_processes
from trio_driver.linux import CLOCK_TICKS_PER_S, CpuUsage, MemoryUsage, ProcessUsage, Throttling
from trio_driver.model import Compute

CPU = driver_pb2.CPUUsage.Fields
MEMORY = driver_pb2.MemoryUsage.Fields

NODE = Compute(total_mhz=8000, cores=4)


def process(
    *, start: int = 1, user: int = 0, system: int = 0, rss: int = 0, swap: int | None = 0
) -> ProcessLook:
    return ProcessLook(ProcessUsage(start, user, system, rss), swap)


def look(
    at_s: float,
    *,
    cpu: CpuUsage | None = None,
    throttling: Throttling | None = None,
    memory: MemoryUsage | None = None,
    processes: Mapping[int, ProcessLook] | None = None,
) -> Look:
    return Look(at_s=at_s, cpu=cpu, throttling=throttling, memory=memory, processes=processes or {})


def cpu_fields(usage: driver_pb2.TaskResourceUsage) -> set[str]:
    return {CPU.Name(number) for number in usage.cpu.measured_fields}


def memory_fields(usage: driver_pb2.TaskResourceUsage) -> set[str]:
    return {MEMORY.Name(number) for number in usage.memory.measured_fields}


TIMES = {"USER_MODE", "SYSTEM_MODE", "PERCENT", "TOTAL_TICKS"}


def test_a_percentage_is_the_time_spent_between_two_looks() -> None:
    before = look(10, cpu=CpuUsage(1_000_000, 500_000))
    now = look(12, cpu=CpuUsage(2_000_000, 1_500_000))
    total = build_stats(before, now, NODE).agg_resource_usage
    assert (total.cpu.user_mode, total.cpu.system_mode, total.cpu.percent) == (50, 50, 100)
    assert total.cpu.total_ticks == 2000
    assert cpu_fields(total) == TIMES


def test_a_first_look_lists_no_cpu_time() -> None:
    total = build_stats(None, look(10, cpu=CpuUsage(9, 9)), NODE).agg_resource_usage
    assert total.HasField("cpu")
    assert cpu_fields(total) == set()


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (look(10, cpu=CpuUsage(1, 1)), look(10, cpu=CpuUsage(2, 2))),
        (look(10, cpu=CpuUsage(5, 5)), look(11, cpu=CpuUsage(4, 9))),
        (look(10), look(11, cpu=CpuUsage(1, 1))),
    ],
    ids=["no time has passed", "a counter went backwards", "it was not counted before"],
)
def test_no_percentage_is_made_of_looks_that_give_none(before: Look, now: Look) -> None:
    assert cpu_fields(build_stats(before, now, NODE).agg_resource_usage) == set()


def test_an_idle_task_is_measured_as_zero() -> None:
    total = build_stats(
        look(1, cpu=CpuUsage(7, 7)), look(2, cpu=CpuUsage(7, 7)), NODE
    ).agg_resource_usage
    assert (total.cpu.percent, cpu_fields(total)) == (0, TIMES)


def test_a_node_without_a_topology_has_no_ticks() -> None:
    total = build_stats(
        look(1, cpu=CpuUsage(0, 0)), look(2, cpu=CpuUsage(1, 1)), Compute(total_mhz=0, cores=0)
    ).agg_resource_usage
    assert cpu_fields(total) == TIMES - {"TOTAL_TICKS"}


def test_throttling_and_memory_are_passed_on_as_they_are() -> None:
    memory = MemoryUsage(rss=1, cache=2, max_usage=3, kernel=4, kernel_max=5, usage=6, swap=7)
    total = build_stats(
        None, look(1, throttling=Throttling(8, 9), memory=memory), NODE
    ).agg_resource_usage
    assert (total.cpu.throttled_periods, total.cpu.throttled_time) == (8, 9)
    assert cpu_fields(total) == {"THROTTLED_PERIODS", "THROTTLED_TIME"}
    assert (total.memory.rss, total.memory.cache, total.memory.max_usage) == (1, 2, 3)
    assert (total.memory.kernel_usage, total.memory.kernel_max_usage) == (4, 5)
    assert (total.memory.usage, total.memory.swap) == (6, 7)
    assert memory_fields(total) == {name for name, _ in MEMORY.items()}


def test_what_is_not_counted_is_not_listed() -> None:
    total = build_stats(None, look(1, memory=MemoryUsage(usage=0)), NODE).agg_resource_usage
    assert memory_fields(total) == {"USAGE"}


def test_each_process_has_its_share() -> None:
    before = look(1, processes={5: process(user=0), 6: process(user=0)})
    now = look(
        2,
        processes={
            5: process(user=CLOCK_TICKS_PER_S, rss=100, swap=3),
            6: process(system=CLOCK_TICKS_PER_S // 2, swap=None),
        },
    )
    by_pid = build_stats(before, now, NODE).resource_usage_by_pid
    assert (by_pid["5"].cpu.user_mode, by_pid["5"].cpu.percent) == (100, 100)
    assert by_pid["6"].cpu.system_mode == 50
    assert (by_pid["5"].memory.rss, by_pid["5"].memory.swap) == (100, 3)
    assert memory_fields(by_pid["6"]) == {"RSS"}


def test_a_process_that_was_not_there_before_has_no_percentage() -> None:
    before = look(1, processes={5: process(start=1, user=50)})
    now = look(2, processes={5: process(start=2, user=80), 6: process(user=9)})
    by_pid = build_stats(before, now, NODE).resource_usage_by_pid
    assert cpu_fields(by_pid["5"]) == cpu_fields(by_pid["6"]) == set()
    assert by_pid["5"].HasField("cpu")


def test_without_a_cgroup_the_sum_over_the_processes_stands_for_the_task() -> None:
    before = look(1, processes={5: process(), 6: process()})
    now = look(
        2, processes={5: process(user=10, rss=1, swap=1), 6: process(user=10, rss=2, swap=2)}
    )
    total = build_stats(before, now, NODE).agg_resource_usage
    assert total.cpu.percent == pytest.approx(20 / CLOCK_TICKS_PER_S * 100)
    assert (total.memory.rss, total.memory.swap) == (3, 3)
    assert memory_fields(total) == {"RSS", "SWAP"}


def test_a_sum_with_an_unknown_part_is_not_listed() -> None:
    now = look(2, processes={5: process(swap=None), 6: process(swap=2)})
    assert memory_fields(build_stats(None, now, NODE).agg_resource_usage) == {"RSS"}


def test_processes_that_are_gone_are_left_out() -> None:
    gone = os.fork() or os._exit(0)
    os.waitpid(gone, 0)
    found = look_at_processes([gone, os.getpid()], may_swap=True)
    assert list(found) == [os.getpid()]
    assert found[os.getpid()].swap_bytes is not None
    assert look_at_processes([os.getpid()], may_swap=False)[os.getpid()].swap_bytes == 0
