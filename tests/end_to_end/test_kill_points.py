"""Invariants 1 to 4 of design §6 over a SIGKILL of plugin, spawner and executor at every audited
point of StartTask.

Each test walks: the n-th point of one process, n = 1, 2, … until a start passes without being
killed. With `TRIO_DRIVER_FULL=1` no point is left out.
"""

import itertools
import os
import random

import pytest
import trio

from tests.support.exits import assert_lost
from tests.support.faults import Fault
from tests.support.host import FAULTY, Host, open_host
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver._proto import driver_pb2
from trio_driver.rpc import RpcError
from trio_driver.state import RunState

pytestmark = pytest.mark.cgroup

IS_FULL = os.environ.get("TRIO_DRIVER_FULL") == "1"

STRIDES = {"plugin": 1, "child": 1, "executor": 1 if IS_FULL else 4, "spawner": 1 if IS_FULL else 4}
"""Between two points that are tried."""

RANDOM_KILLS = 200 if IS_FULL else 15

EXCLUSIVE = 'exec flock --nonblock --conflict-exit-code 99 "$EXCLUSIVE" sleep 1000'
"""Ends with 99 if another one runs at the same time."""


def exclusive_task(host: Host) -> Task:
    return host.sh(EXCLUSIVE, logs=False, env={"EXCLUSIVE": str(host.home / "exclusive")})


async def start(host: Host, task: Task) -> driver_pb2.TaskHandle | None:
    """StartTask; None when the plugin did not live to answer, or said that it could not."""
    try:
        return await host.plugin.start(task)
    except RpcError:
        return None


async def runs_once(host: Host, task: Task) -> None:
    """Exactly one executor and one workload, which found nobody else there."""
    await host.becomes(executors=1, workloads=2)  # flock and its sleep
    assert task.run.state() is RunState.COMMITTED
    await host.plugin.stop(task)
    assert (await host.plugin.wait(task)).result.exit_code == 137
    await host.becomes()


async def recovers(
    host: Host, task: Task, handle: driver_pb2.TaskHandle | None
) -> driver_pb2.TaskHandle:
    """What an agent does at once when its plugin has gone: recover what it has a handle of, else
    ask again."""
    await host.launch()
    if handle is None:
        return await host.start(task)
    await host.plugin.recover(handle)
    return handle


async def is_one_or_lost(host: Host, task: Task) -> None:
    """A committed task runs, once; of one that was not, nothing runs."""
    if task.run.state() is RunState.COMMITTED:
        await runs_once(host, task)
    else:
        assert_lost(await host.plugin.wait(task))
        await host.becomes(spawners=host.family.counts().spawners)
    await host.plugin.destroy(task)


async def test_a_plugin_killed_at_any_point_of_a_start_leaves_nothing_or_one_task() -> None:
    nth = 0
    async with open_host(FAULTY) as host:
        for nth in itertools.count(1, STRIDES["plugin"]):
            task = exclusive_task(host)
            host.faults.arm(Fault(role="plugin", nth=nth))
            handle = await start(host, task)
            if host.faults.is_armed and handle is not None:
                break
            assert await host.plugin.was_killed()
            await recovers(host, task, handle)
            await is_one_or_lost(host, task)
        assert nth > 5, "hardly a point was tried"


async def test_a_plugin_killed_at_any_time_of_a_start_leaves_nothing_or_one_task() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    times = random.Random(seed)
    async with open_host() as host:
        for _ in range(RANDOM_KILLS):
            task = exclusive_task(host)
            handle: driver_pb2.TaskHandle | None = None

            async def ask(task: Task = task) -> None:
                nonlocal handle
                handle = await start(host, task)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.sleep(times.uniform(0, 0.04))
                await host.plugin.kill()
            await recovers(host, task, handle)
            await is_one_or_lost(host, task)


@pytest.mark.parametrize("role", ["executor", "child"])
async def test_an_executor_killed_at_any_point_of_a_start_leaves_an_error_or_a_lost_task(
    role: str,
) -> None:
    async with open_host(FAULTY) as host:
        warm = exclusive_task(host)
        await host.start(warm)
        await host.plugin.destroy(warm)
        nth, task = 0, warm
        for nth in itertools.count(1, STRIDES[role]):
            task = exclusive_task(host)
            host.faults.arm(Fault(role=role, nth=nth))
            handle = await start(host, task)
            if host.faults.is_armed:
                break
            if handle is not None:
                await host.plugin.wait(task)
            await host.becomes()
            if handle is None:
                await host.nothing_is_left()
            await host.plugin.destroy(task)
        assert nth > 3, "hardly a point was tried"
        host.faults.disarm()
        await until(task.run.is_committed, "the last one is committed")
        await runs_once(host, task)


async def test_a_spawner_killed_at_any_point_of_a_start_costs_nothing_but_time() -> None:
    nth = 0
    async with open_host(FAULTY) as host:
        for nth in itertools.count(1, STRIDES["spawner"]):
            warm = host.sh("exit 0", logs=False)
            await host.start(warm)
            await host.plugin.wait(warm)
            await host.plugin.destroy(warm)
            task = exclusive_task(host)
            host.faults.arm(Fault(role="spawner", nth=nth))
            await host.start(task)
            is_passed = host.faults.is_armed
            host.faults.disarm()
            await runs_once(host, task)
            await host.plugin.destroy(task)
            if is_passed:
                break
        assert nth > 1, "no point was tried"
