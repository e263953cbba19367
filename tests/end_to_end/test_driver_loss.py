"""The option `stop_after_driver_loss`: the executor itself stops a task that nobody looks after
(design §3, lifetime policy)."""

import signal
from collections.abc import Callable

import pytest
import trio

from tests.end_to_end.test_start_errors import fails
from tests.support.exits import assert_exited, assert_signaled
from tests.support.host import Host, open_host
from tests.support.scripts import SLEEP
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver.linux import is_alive

pytestmark = pytest.mark.cgroup

SHORT = {"stop_after_driver_loss": "2s"}


def sleeper(host: Host, script: str = SLEEP, **config: object) -> Task:
    name = str(config.pop("name", "web"))
    return host.task("/bin/sh", "-c", script, name=name, logs=True, config={**SHORT, **config})


def executor_ends(task: Task) -> Callable[[], bool]:
    return lambda: not is_alive(task.executor)


async def test_a_task_is_stopped_with_plugin_and_agent_dead_and_its_exit_is_known() -> None:
    async with open_host() as host:
        task = sleeper(host)
        async with host.plugin.connected_agent():
            handle = await host.start(task)
            await task.out.wait_for("ready")
            await host.plugin.kill()
        await until(executor_ends(task), "the executor stops its task")
        await host.launch()
        await host.plugin.recover(handle)
        assert_signaled(await host.plugin.wait(task), signal.SIGINT)


async def test_a_plugin_without_an_agent_is_no_driver() -> None:
    async with open_host() as host:
        task = sleeper(host)
        async with host.plugin.connected_agent():
            await host.start(task)
        await until(executor_ends(task), "the executor stops its task")


async def test_a_task_that_is_looked_after_is_left_alone() -> None:
    async with open_host() as host:
        watched, other = sleeper(host, name="watched"), sleeper(host, name="other")
        async with host.plugin.connected_agent():
            await host.start(watched)
            await host.start(other)
            with trio.move_on_after(4):  # twice the limit
                await host.plugin.wait(watched)
            await host.becomes(executors=2, workloads=2)


async def test_an_open_wait_is_enough_to_be_looked_after() -> None:
    async with open_host() as host:
        task = sleeper(host)
        await host.start(task)
        with trio.move_on_after(4):
            await host.plugin.wait(task)
        await host.becomes(executors=1, workloads=1)


async def test_a_plugin_that_comes_back_in_time_takes_its_tasks_over() -> None:
    async with open_host() as host:
        task = sleeper(host, stop_after_driver_loss="20s")
        handle = await host.start(task)
        await host.plugin.kill()
        await host.launch()
        await host.plugin.recover(handle)
        with trio.move_on_after(1):
            await host.plugin.wait(task)
        await host.becomes(executors=1, workloads=1)


async def test_the_stop_is_the_jobs_ladder() -> None:
    async with open_host() as host:
        script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"
        task = sleeper(host, script, stop=["SIGUSR1 10s"])
        handle = await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.kill()
        await until(executor_ends(task), "the executor stops its task")
        await host.launch()
        await host.plugin.recover(handle)
        assert_exited(await host.plugin.wait(task), 9)


async def test_without_the_option_a_task_outlives_plugin_and_agent() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        assert task.record.stop_after_driver_loss_s is None
        await host.plugin.kill()
        await trio.sleep(2.5)
        assert is_alive(task.executor)


async def test_a_time_that_no_restart_could_keep_is_refused() -> None:
    async with open_host() as host:
        task = host.task("true", config={"stop_after_driver_loss": "1s"})
        text = 'stop_after_driver_loss "1s" is not accepted; expected "2s" or more'
        await fails(host, task, text)
