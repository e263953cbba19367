"""Nothing grows: descriptors, threads, Trio tasks and memory of plugin and spawner over many starts and stops.

`TRIO_DRIVER_CYCLES` (default 40) sets how many; 2000 is what was promised.
"""

import contextlib
import os
from collections import Counter
from pathlib import Path

import pytest
import trio

from tests.support.host import SCRIPTED, Host, open_host
from tests.support.waiting import until
from trio_driver.linux import ProcessId

pytestmark = pytest.mark.cgroup

CYCLES = int(os.environ.get("TRIO_DRIVER_CYCLES", "40"))

WARM_UP = 10
"""After these every cache is filled that will be."""

MEMORY_PER_CYCLE_KIB = 4
"""What the allocator may take on the way: a leaked task would cost more."""


async def cycle(host: Host, number: int) -> None:
    """One task's life as an agent lives it; every fourth is a failure of some kind."""
    task = host.task("sleep", "1000", name=f"task-{number % 7}")
    match number % 4:
        case 0:
            with trio.move_on_after(0.01):
                await host.plugin.start(task)
        case 1:
            await host.start(task)
            with trio.move_on_after(0.01):
                await host.plugin.wait(task)
        case 2:
            await host.start(task)
            async with host.plugin.stats(task, interval_s=0.1) as samples:
                await anext(samples)
            await host.plugin.stop(task)
            await host.plugin.wait(task)
        case _:
            await host.start(task)
    await host.plugin.destroy(task)
    host.tasks.remove(task)


def fds_of(process: ProcessId) -> list[str]:
    """What the descriptors of a process are, sockets without their numbers."""
    kinds: list[str] = []
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we looked
            kinds.append(os.readlink(path).partition("[")[0])
    return sorted(kinds)


def memory_kib_of(process: ProcessId) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def trio_tasks(host: Host) -> int:
    """How many live in the plugin."""
    async with host.plugin.connected_agent() as first:
        return first.attributes["tasks_living"].int_val


async def test_many_cycles_leave_plugin_and_spawner_as_they_were() -> None:
    async with open_host(SCRIPTED) as host:
        for number in range(WARM_UP):
            await cycle(host, number)
        await host.nothing_is_left()
        plugin, spawner = host.plugin.process, host.spawner
        fds = [fds_of(process) for process in (plugin, spawner)]
        tasks, memory = await trio_tasks(host), memory_kib_of(plugin)
        for number in range(CYCLES):
            await cycle(host, number)
        await host.nothing_is_left()
        await until(
            # What was just being closed when we looked first may be gone now.
            lambda: all(
                Counter(fds_of(process)) <= Counter(before)
                for process, before in zip((plugin, spawner), fds, strict=True)
            ),
            lambda: f"no more than {fds}; there is {fds_of(plugin)}, {fds_of(spawner)}",
        )
        assert await trio_tasks(host) == tasks
        assert host.spawner == spawner
        allowed_kib = 2048 + CYCLES * MEMORY_PER_CYCLE_KIB
        assert memory_kib_of(plugin) - memory <= allowed_kib
