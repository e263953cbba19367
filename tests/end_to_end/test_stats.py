"""TaskStats: true numbers at once, and nothing listed that was not measured (invariant 7)."""

import os
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.family import freeze, thaw
from tests.support.host import open_host
from tests.support.nomad_cgroups import nomad_cgroups
from tests.support.scripts import SLEEP
from tests.support.tier import HostKind, host_of
from trio_driver._proto import base_pb2, driver_pb2
from trio_driver.rpc import RpcError
from trio_driver.state import Tier

pytestmark = pytest.mark.cgroup

BUSY = f"exec {sys.executable} -c 'while True: pass'"

CPU = driver_pb2.CPUUsage.Fields
MEMORY = driver_pb2.MemoryUsage.Fields

TICKS_PER_S = os.sysconf("SC_CLK_TCK")

TOLERANCE = 25.0
"""Percent of a core: a sample and our own look are not taken at the same moment, and hosts are noisy."""

KINDS = [HostKind.NATIVE, HostKind.USER]


def cpu_seconds(pid: int) -> float:
    """What the process has used, as the kernel says."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@pytest.mark.parametrize("kind", KINDS)
async def test_a_busy_loop_is_seen_within_two_seconds(kind: HostKind) -> None:
    if host_of(kind) is None:
        pytest.skip(f"this host cannot be {kind}")
    async with open_host(kind=kind) as host:
        task = host.sh(BUSY, logs=False)
        await host.start(task)
        async with host.plugin.stats(task, interval_s=0.5) as samples:
            first = (await anext(samples)).stats
            assert CPU.PERCENT not in first.agg_resource_usage.cpu.measured_fields
            before, before_s = cpu_seconds(task.workload_pid), time.monotonic()
            begin_s = trio.current_time()
            second = (await anext(samples)).stats
            elapsed_s = time.monotonic() - before_s
            used = (cpu_seconds(task.workload_pid) - before) / elapsed_s * 100
        assert trio.current_time() - begin_s < 2
        cpu = second.agg_resource_usage.cpu
        assert CPU.PERCENT in cpu.measured_fields
        assert cpu.percent == pytest.approx(used, abs=TOLERANCE)
        assert cpu.percent == pytest.approx(cpu.user_mode + cpu.system_mode)


@pytest.mark.parametrize("kind", KINDS)
async def test_samples_have_a_time_the_processes_and_their_memory(kind: HostKind) -> None:
    if host_of(kind) is None:
        pytest.skip(f"this host cannot be {kind}")
    async with open_host(kind=kind) as host:
        task = host.sh("sleep 1000 & echo ready; exec sleep 1000")
        await host.start(task)
        await task.out.wait_for("ready")
        await host.becomes(executors=1, workloads=2)
        async with host.plugin.stats(task, interval_s=0.1) as samples:
            stats = (await anext(samples)).stats
        assert abs(stats.timestamp.ToNanoseconds() / 1e9 - time.time()) < 1
        assert str(task.workload_pid) in stats.resource_usage_by_pid
        assert len(stats.resource_usage_by_pid) == 2
        total = stats.agg_resource_usage
        assert total.HasField("cpu")
        assert MEMORY.RSS in total.memory.measured_fields
        assert total.memory.rss > 0
        for usage in stats.resource_usage_by_pid.values():
            assert usage.HasField("cpu")
            assert usage.memory.rss > 0


async def test_a_field_that_is_not_measured_is_zero_and_not_listed() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        async with host.plugin.stats(task, interval_s=0.1) as samples:
            await anext(samples)
            stats = (await anext(samples)).stats
        for usage in (stats.agg_resource_usage, *stats.resource_usage_by_pid.values()):
            measured = {MEMORY.Name(number) for number in usage.memory.measured_fields}
            nonzero = {field.name.upper() for field, _ in usage.memory.ListFields()}
            assert nonzero - {"MEASURED_FIELDS"} <= measured


def topology(cores: int, mhz: int) -> base_pb2.NomadConfig:
    config = base_pb2.NomadConfig()
    for _ in range(cores):
        config.driver.Topology.cores.add(base_speed=mhz)
    return config


async def test_ticks_are_percent_of_the_nodes_megahertz() -> None:
    async with open_host(launch=False) as host:
        await host.launch(nomad=topology(cores=4, mhz=2000))
        task = host.sh(BUSY, logs=False)
        await host.start(task)
        async with host.plugin.stats(task, interval_s=0.3) as samples:
            await anext(samples)
            cpu = (await anext(samples)).stats.agg_resource_usage.cpu
        assert CPU.TOTAL_TICKS in cpu.measured_fields
        assert cpu.total_ticks == pytest.approx(cpu.percent / 100 * 2000)


async def test_without_a_topology_no_ticks_are_told() -> None:
    async with open_host() as host:
        task = host.sh(BUSY, logs=False)
        await host.start(task)
        async with host.plugin.stats(task, interval_s=0.2) as samples:
            await anext(samples)
            cpu = (await anext(samples)).stats.agg_resource_usage.cpu
        assert CPU.TOTAL_TICKS not in cpu.measured_fields


@pytest.mark.parametrize("kind", KINDS)
async def test_the_stream_stays_open_after_the_task_has_ended(kind: HostKind) -> None:
    if host_of(kind) is None:
        pytest.skip(f"this host cannot be {kind}")
    async with open_host(kind=kind) as host:
        task = host.sh(SLEEP)
        await host.start(task)
        async with host.plugin.stats(task, interval_s=0.05) as samples:
            await anext(samples)
            await host.plugin.stop(task)
            await host.plugin.wait(task)
            with trio.move_on_after(0.5):
                while True:
                    await anext(samples)  # ends with neither an end nor an error (H11)


async def test_statistics_go_on_at_the_next_plugin() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        await host.plugin.kill()
        await host.launch()
        await host.plugin.recover(handle)
        async with host.plugin.stats(task, interval_s=0.1) as samples:
            stats = (await anext(samples)).stats
        assert str(task.workload_pid) in stats.resource_usage_by_pid


@pytest.mark.skipif(os.geteuid() != 0, reason="without a cgroup the executor answers")
async def test_a_stopped_executor_delays_no_statistics_of_a_cgroup() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await freeze(task.executor)
        with trio.fail_after(2):
            async with host.plugin.stats(task, interval_s=0.1) as samples:
                await anext(samples)
        thaw(task.executor)


async def test_statistics_of_an_unknown_task_are_an_error() -> None:
    async with open_host() as host:
        with pytest.raises(RpcError, match="no record of"):
            async with host.plugin.stats(host.task("true"), interval_s=1) as samples:
                await anext(samples)


async def becomes_busy(samples: AsyncIterator[driver_pb2.TaskStatsResponse]) -> float:
    """Wait until a sample has more than a tenth of a core; a busy host may take its time for it."""
    async for sample in samples:
        if (percent := sample.stats.agg_resource_usage.cpu.percent) > 10:
            return percent
    raise AssertionError("the stream has ended (H11)")


def names(usage: driver_pb2.TaskResourceUsage) -> set[str]:
    cpu = {CPU.Name(number) for number in usage.cpu.measured_fields}
    return cpu | {f"MEMORY_{MEMORY.Name(number)}" for number in usage.memory.measured_fields}


@pytest.mark.skipif(os.geteuid() != 0, reason="Nomad's cgroups need root")
async def test_all_that_the_host_counts_is_listed() -> None:
    async with open_host() as host:
        task = host.sh(BUSY, logs=False)
        with nomad_cgroups(task.config) as (limited, *_):
            await host.start(task)
            async with host.plugin.stats(task, interval_s=0.3) as samples:
                await anext(samples)
                total = (await anext(samples)).stats.agg_resource_usage
            files = {path.name for path in limited.iterdir()}
            await host.plugin.destroy(task)
    is_v1 = "memory.usage_in_bytes" in files
    expected = {"USER_MODE", "SYSTEM_MODE", "PERCENT", "THROTTLED_PERIODS", "THROTTLED_TIME"}
    expected |= {"MEMORY_RSS", "MEMORY_CACHE", "MEMORY_USAGE", "MEMORY_KERNEL_USAGE"}
    if is_v1 or "memory.peak" in files:
        expected.add("MEMORY_MAX_USAGE")
    if is_v1 or "memory.swap.current" in files:
        expected.add("MEMORY_SWAP")
    if is_v1:
        expected.add("MEMORY_KERNEL_MAX_USAGE")
    assert names(total) == expected
    assert 0 < total.memory.rss <= total.memory.usage
    assert total.memory.usage <= (total.memory.max_usage or total.memory.usage)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make cgroups below its own")
async def test_processes_in_cgroups_below_the_runs_own_count() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        containment = task.record.containment
        assert containment is not None
        below = Path(containment.kill_path) / "exec-1.scope"
        below.mkdir()
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, ["/bin/sh", "-c", BUSY], check=False)
            process = await nursery.start(run)
            (below / "cgroup.procs").write_text(str(process.pid))
            async with host.plugin.stats(task, interval_s=0.3) as samples:
                first = (await anext(samples)).stats
                if containment.tier is not Tier.FREEZER:
                    await becomes_busy(samples)
            nursery.cancel_scope.cancel()
        assert {str(process.pid), str(task.workload_pid)} <= set(first.resource_usage_by_pid)


async def test_an_idle_task_is_measured_as_zero_percent_and_wakes_up_in_the_figures() -> None:
    async with open_host() as host:
        script = f'read go < "$GO"; {BUSY}'
        task = host.sh(script, env=host.gate, logs=False)
        await host.start(task)
        async with host.plugin.stats(task, interval_s=0.1) as samples:
            async for sample in samples:  # the shell starts first
                idle = sample.stats.agg_resource_usage.cpu
                if CPU.PERCENT in idle.measured_fields and idle.percent == 0:
                    break
            host.open_gate()
            await becomes_busy(samples)


async def test_two_listeners_of_different_intervals_both_have_true_numbers() -> None:
    async with open_host() as host:
        task = host.sh(BUSY, logs=False)
        await host.start(task)
        async with (
            host.plugin.stats(task, interval_s=0.1) as quick,
            host.plugin.stats(task, interval_s=0.5) as slow,
        ):
            for samples in (quick, slow):
                assert await becomes_busy(samples) < 100 + TOLERANCE
