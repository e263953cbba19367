"""A SIGKILL of plugin, executor and the session's own child at every audited point of a session.

Each test walks as those of `test_kill_points` do: the n-th point of one process, until a session
passes without anybody being killed.
"""

import itertools
import os

import pytest

from tests.support.exits import assert_lost
from tests.support.faults import Fault
from tests.support.host import FAULTY, Host, open_host
from tests.support.scripts import HIDDEN, SLEEP
from tests.support.sessions import run_in
from tests.support.task import Task
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup

IS_FULL = os.environ.get("TRIO_DRIVER_FULL") == "1"

STRIDE = 1 if IS_FULL else 3
"""Between two points of plugin or executor that are tried."""

WHOLE = (b"out\n", b"", 0)


async def running(host: Host) -> Task:
    task = host.sh(SLEEP)
    await host.start(task)
    await task.out.wait_for("ready")
    return task


async def attempt(host: Host, task: Task) -> tuple[bytes, bytes, int | None] | None:
    """A session that leaves three processes; None if it was not told how it ended."""
    try:
        return await run_in(host.plugin, task, f"{HIDDEN} echo out")
    except RpcError:
        return None


async def test_a_plugin_killed_at_any_point_of_a_session_leaves_the_task_alone() -> None:
    nth = 0
    async with open_host(FAULTY) as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        await task.out.wait_for("ready")
        for nth in itertools.count(1, STRIDE):
            host.faults.arm(Fault(role="plugin", nth=nth))
            result = await attempt(host, task)
            if host.faults.is_armed:
                host.faults.disarm()
                assert result == WHOLE
                break
            assert await host.plugin.was_killed()
            await host.launch()
            await host.plugin.recover(handle)
            await host.becomes(executors=1, workloads=1)
        assert nth > STRIDE, "hardly a point was tried"


async def test_an_executor_killed_at_any_point_of_a_session_leaves_nothing() -> None:
    nth = 0
    async with open_host(FAULTY) as host:
        for nth in itertools.count(1, STRIDE):
            task = await running(host)
            host.faults.arm(Fault(role="executor", nth=nth))
            result = await attempt(host, task)
            if host.faults.is_armed:
                host.faults.disarm()
                assert result == WHOLE
                break
            assert result in (None, WHOLE)
            assert_lost(await host.plugin.wait(task))
            await host.becomes()
            await host.plugin.destroy(task)
        assert nth > STRIDE, "hardly a point was tried"


async def test_a_session_killed_on_its_way_to_its_command_leaves_the_task_alone() -> None:
    nth = 0
    async with open_host(FAULTY) as host:
        task = await running(host)
        for nth in itertools.count(1):
            host.faults.arm(Fault(role="child", nth=nth))
            result = await attempt(host, task)
            if host.faults.is_armed:
                host.faults.disarm()
                assert result == WHOLE
                break
            assert result == (b"", b"", 137)
            await host.becomes(executors=1, workloads=1)
        assert nth > 3, "hardly a point was tried"
