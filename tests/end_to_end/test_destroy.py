"""DestroyTask works from disk alone: for any id, twice, and after any crash (design §3, invariant 4)."""

import enum
import signal

import pytest
import trio

from tests.support.exits import assert_lost
from tests.support.family import freeze, kill, send
from tests.support.host import Host, open_host
from tests.support.scripts import FAMILY, FAMILY_SIZE, SLEEP
from tests.support.task import Task
from trio_driver._proto import driver_pb2
from trio_driver.linux import is_alive
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup


class Executor(enum.Enum):
    """What has become of the task's executor before the task is destroyed."""

    ALIVE = "alive"
    STOPPED = "stopped"
    DEAD = "dead"
    DEAD_UNSETTLED = "dead, and nobody saw it"
    ENDED = "ended"


async def bring_about(host: Host, task: Task, executor: Executor) -> None:
    match executor:
        case Executor.ALIVE:
            pass
        case Executor.STOPPED:
            await freeze(task.executor)
        case Executor.DEAD:
            await kill(task.executor)
        case Executor.DEAD_UNSETTLED:
            for process in (host.plugin.process, host.spawner):
                send(process, signal.SIGSTOP)
            await kill(task.executor)
            await host.kill_spawner(is_replaced=False)
            await host.plugin.kill()
        case Executor.ENDED:
            await host.plugin.stop(task)


@pytest.mark.parametrize("executor", Executor)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "never-seen"])
async def test_destroy_leaves_nothing_and_may_be_repeated(
    executor: Executor, is_known: bool
) -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await bring_about(host, task, executor)
        if not is_known:
            await host.plugin.kill()
        if not is_alive(host.plugin.process):
            await host.launch()
        await host.plugin.destroy(task)
        await host.nothing_is_left()
        await host.plugin.destroy(task)
        await host.plugin.destroy(task, force=False)


async def test_destroy_without_force_refuses_a_running_task() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        with pytest.raises(RpcError, match="cannot destroy running task"):
            await host.plugin.destroy(task, force=False)
        await host.becomes(executors=1, workloads=1)
        await host.plugin.stop(task)
        await host.plugin.destroy(task, force=False)
        await host.nothing_is_left()


async def test_destroy_without_force_refuses_a_running_task_that_this_plugin_never_saw() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await host.plugin.kill()
        await host.launch()
        with pytest.raises(RpcError, match="cannot destroy running task"):
            await host.plugin.destroy(task, force=False)


async def test_concurrent_destroys_and_stops_all_succeed() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(host.plugin.destroy, task)
                nursery.start_soon(host.plugin.stop, task)
        await host.nothing_is_left()


async def test_a_wait_that_is_open_while_its_task_is_destroyed_ends_as_lost() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        answers: list[driver_pb2.WaitTaskResponse] = []

        async def wait() -> None:
            answers.append(await host.plugin.wait(task))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await host.plugin.inspect(task)  # the wait is at the plugin before this one
            await host.plugin.destroy(task)
        assert_lost(answers[0])


async def test_destroying_one_task_leaves_the_others_alone() -> None:
    async with open_host() as host:
        tasks = [host.sh(FAMILY, name=f"task-{number}") for number in range(3)]
        for task in tasks:
            await host.start(task)
            await task.out.wait_for("ready")
        await host.plugin.destroy(tasks[1])
        await host.becomes(executors=2, workloads=2 * FAMILY_SIZE)
        assert [task.run.exists() for task in tasks] == [True, False, True]
