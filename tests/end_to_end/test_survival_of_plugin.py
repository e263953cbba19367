"""Who survives whom, the rows in which the plugin ends (design §3)."""

import signal

import pytest
import trio

from tests.support.exits import assert_exited, assert_lost
from tests.support.family import Role, freeze, kill, thaw
from tests.support.faults import Fault
from tests.support.host import FAULTY, SCRIPTED, Host, open_host
from tests.support.scripts import FAMILY, FAMILY_SIZE, SLEEP
from tests.support.task import Task
from trio_driver.linux import is_alive
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup

WEDGED_EXECUTOR = Fault(role="executor", event="socket.bind", signum=signal.SIGSTOP)
"""Stops when its workload has been forked and nobody has been told of it."""

BEFORE_COMMIT = Fault(role="plugin", event="os.rename", part="committed.json")
"""When the answer to StartTask has been written, and the mark has not."""


async def start_until_lost(host: Host, task: Task) -> None:
    """StartTask on a plugin that does not live to answer."""
    with pytest.raises(RpcError, match="UNAVAILABLE"):
        await host.plugin.start(task)


async def test_a_provisional_executor_ends_with_its_plugin() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": "never-started"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_until_lost, host, task)
            await host.begun(task)
            await host.plugin.kill()
        await host.becomes(plugins=0, spawners=0)
        await host.nothing_is_left()


async def test_a_provisional_executor_and_its_workload_end_with_their_plugin() -> None:
    async with open_host(FAULTY) as host:
        host.faults.arm(WEDGED_EXECUTOR)
        task = host.sh(FAMILY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_until_lost, host, task)
            await task.out.wait_for("ready")
            await host.becomes(executors=1, workloads=FAMILY_SIZE)
            await host.plugin.kill()
        thaw(task.executor)
        await host.becomes(plugins=0, spawners=0)
        await host.launch()
        host.faults.disarm()
        await host.start(task)  # Nomad sends the same id again
        assert host.family.counts().executors == 1


async def test_the_spawner_kills_a_wedged_provisional_executor_whose_plugin_died() -> None:
    async with open_host(FAULTY) as host:
        host.faults.arm(WEDGED_EXECUTOR)
        task = host.sh(FAMILY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_until_lost, host, task)
            await task.out.wait_for("ready")
            await host.plugin.kill()
        await host.becomes(plugins=0, spawners=0)
        host.faults.disarm()
        await host.launch()
        await host.start(task)
        await host.becomes(executors=1, workloads=FAMILY_SIZE)


async def test_the_next_plugin_ends_a_wedged_provisional_executor_when_the_spawner_died_too() -> (
    None
):
    async with open_host(FAULTY) as host:
        host.faults.arm(WEDGED_EXECUTOR)
        task = host.sh(FAMILY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_until_lost, host, task)
            await task.out.wait_for("ready")
            await kill(host.spawner)
            await host.plugin.kill()
        await host.becomes(plugins=0, spawners=0, executors=1, workloads=FAMILY_SIZE)
        host.faults.disarm()
        host.spawner_may_die()
        await host.launch()
        await host.becomes(spawners=0)


async def test_a_plugin_killed_between_reply_and_commit_makes_a_lost_task() -> None:
    async with open_host(FAULTY) as host:
        host.faults.arm(BEFORE_COMMIT)
        task = host.sh(FAMILY)
        handle = await host.plugin.start(task)  # Nomad has the answer
        await host.becomes(plugins=0, spawners=0)
        assert not task.run.is_committed()
        await host.launch()
        await host.plugin.recover(handle)
        assert_lost(await host.plugin.wait(task))


async def test_a_task_lost_between_reply_and_commit_is_recovered_while_it_still_ends() -> None:
    async with open_host(FAULTY) as host:
        host.faults.arm(BEFORE_COMMIT)
        task = host.sh(SLEEP)
        handle = await host.plugin.start(task)
        await freeze(task.executor)
        await host.becomes(plugins=0, spawners=1, executors=1, workloads=1)
        await host.launch()
        await host.plugin.recover(handle)  # at once, as an agent does
        assert_lost(await host.plugin.wait(task))


async def test_a_plugin_killed_while_it_prepares_the_commit_has_not_answered_yet() -> None:
    async with open_host(FAULTY) as host:
        host.faults.arm(Fault(role="plugin", event="open", part=".committed.json"))
        task = host.sh(SLEEP)
        with pytest.raises(RpcError, match="UNAVAILABLE"):
            await host.plugin.start(task)
        await host.becomes(plugins=0, spawners=0)
        await host.launch()
        await host.plugin.start(task)  # as an agent does, with the same id
        await host.becomes(executors=1, workloads=1)


async def test_a_committed_task_survives_its_plugin_with_exit_code_and_logs() -> None:
    async with open_host() as host:
        task = host.sh('echo before; read go < "$GO"; echo after; exit 5', env=host.gate)
        handle = await host.start(task)
        await task.out.wait_for("before")
        executor, workload = task.executor, task.workload
        await host.plugin.kill()
        await host.becomes(plugins=0, executors=1, workloads=1)
        await host.launch()
        await host.plugin.recover(handle)
        assert (is_alive(executor), is_alive(workload)) == (True, True)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 5)
        assert await task.out.wait_end() == "before\nafter\n"


async def test_a_task_survives_a_plugin_that_was_asked_to_shut_down() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        workload = task.workload
        await host.shut_down()
        await host.becomes(plugins=0, executors=1, workloads=1)
        await host.launch()
        await host.plugin.recover(handle)
        assert is_alive(workload)
        await host.plugin.stop(task)


async def test_a_task_that_ended_without_a_plugin_tells_its_true_exit_code() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 6', env=host.gate)
        handle = await host.start(task)
        await host.plugin.kill()
        host.open_gate()
        await host.becomes(plugins=0, spawners=0)
        await host.launch()
        await host.plugin.recover(handle)
        assert_exited(await host.plugin.wait(task), 6)


async def test_restarts_of_the_plugin_never_make_a_second_spawner() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        spawner = host.spawner
        for _ in range(3):
            await host.plugin.kill()
            await host.launch()
            await host.plugin.recover(handle)
            assert host.spawner == spawner
        second = host.task("sleep", "1000", name="other")
        await host.start(second)
        assert host.spawner == spawner
        assert set(host.family.look().values()) == {*Role} - {Role.ZOMBIE}
        await host.becomes(executors=2, workloads=2)
