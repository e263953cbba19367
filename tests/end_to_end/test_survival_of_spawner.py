"""Who survives whom, the rows in which the spawner ends (design §3)."""

import os
import signal

import pytest
import trio

from tests.support.exits import assert_exited, assert_lost
from tests.support.family import freeze, gone, kill, send, thaw
from tests.support.faults import Fault
from tests.support.host import FAULTY, SCRIPTED, Host, open_host
from tests.support.leaks import files_below
from tests.support.scripts import FAMILY, FAMILY_SIZE, SLEEP
from tests.support.task import Task
from tests.support.tier import HostKind
from tests.support.waiting import until
from trio_driver.linux import is_alive
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup


async def test_a_killed_spawner_is_replaced_at_once_while_tasks_run() -> None:
    async with open_host() as host:
        task = host.sh('echo ready; read go < "$GO"; exit 2', env=host.gate)
        await host.start(task)
        executor, workload = task.executor, task.workload
        await host.kill_spawner(is_replaced=True)
        assert (is_alive(executor), is_alive(workload)) == (True, True)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 2)


async def test_no_spawner_is_started_while_no_task_runs() -> None:
    async with open_host() as host:
        first = host.sh("exit 0")
        await host.start(first)
        await host.plugin.wait(first)
        await host.kill_spawner(is_replaced=False)
        await host.becomes(spawners=0)
        await host.plugin.destroy(first)
        assert host.family.counts().spawners == 0
        second = host.sh("exit 3")
        await host.start(second)
        assert_exited(await host.plugin.wait(second), 3)
        await host.becomes()


async def test_the_next_spawner_ends_what_executors_of_the_dead_one_leave() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        handle = await host.start(task)
        await task.out.wait_for("ready")
        await host.kill_spawner(is_replaced=True)
        await host.plugin.kill()
        assert is_alive(task.executor)
        await kill(task.executor)
        await host.becomes(plugins=0, spawners=0)
        await host.launch()
        await host.plugin.recover(handle)
        assert_lost(await host.plugin.wait(task))


async def test_plugin_and_spawner_killed_together_leave_a_running_task_to_the_next() -> None:
    async with open_host() as host:
        task = host.sh('echo ready; read go < "$GO"; exit 9', env=host.gate)
        handle = await host.start(task)
        send(host.plugin.process, signal.SIGSTOP)
        await host.kill_spawner(is_replaced=False)
        await host.plugin.kill()
        await host.becomes(plugins=0, spawners=0, executors=1, workloads=1)
        await host.launch()
        await host.plugin.recover(handle)
        await host.becomes(spawners=1, executors=1, workloads=1)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 9)


async def test_spawner_and_executor_killed_together_leave_no_workload() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.becomes(executors=1, workloads=FAMILY_SIZE)
        send(task.executor, signal.SIGSTOP)
        await host.kill_spawner(is_replaced=False)
        send(task.executor, signal.SIGKILL)
        assert_lost(await host.plugin.wait(task))
        assert host.family.counts().workloads == 0


async def test_without_root_and_cgroup_main_at_least_ends_with_spawner_and_executor() -> None:
    async with open_host(kind=HostKind.USER) as host:
        task = host.sh(SLEEP)
        await host.start(task)
        main = task.workload
        send(task.executor, signal.SIGSTOP)
        await host.kill_spawner(is_replaced=False)
        await kill(task.executor)
        await gone(main)
        assert_lost(await host.plugin.wait(task))


async def test_a_provisional_executor_ends_when_plugin_and_spawner_die_together() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": "never-started"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_in_vain, host, task)
            await host.begun(task)
            await host.kill_spawner(is_replaced=False)
            await host.plugin.kill()
        await host.becomes(plugins=0, spawners=0)


async def start_in_vain(host: Host, task: Task) -> None:
    with pytest.raises(RpcError):
        await host.plugin.start(task)


async def test_a_stopped_spawner_delays_nobody_but_starts() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        spawner = host.spawner
        await freeze(spawner)
        with trio.fail_after(1):
            await host.plugin.recover(handle)
            await host.plugin.inspect(task)
            await host.plugin.signal(task, "SIGCONT")
            await host.plugin.stop(task)
            await host.plugin.wait(task)
            await host.plugin.destroy(task)
        thaw(spawner)


async def test_a_wedged_spawner_is_killed_replaced_and_asked_once_more() -> None:
    async with open_host() as host:
        first = host.sh(SLEEP)
        await host.start(first)
        wedged = host.spawner
        await freeze(wedged)
        second = host.sh("exit 3", name="other")
        await host.start(second)
        assert_exited(await host.plugin.wait(second), 3)
        assert not is_alive(wedged)
        assert is_alive(first.executor)
        await host.becomes(executors=1, workloads=1)


async def test_two_plugins_in_other_mount_namespaces_have_a_spawner_each() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for another mount namespace")
    async with open_host() as host:
        one = host.sh(SLEEP)
        await host.start(one)
        await host.launch(prefix=("unshare", "--mount"))
        two = host.sh(SLEEP)
        await host.start(two)
        await host.becomes(plugins=2, spawners=2, executors=2, workloads=2)
        for task in (one, two):
            await host.plugin.stop(task)
        await host.becomes(plugins=2, spawners=2)


async def test_a_spawner_killed_at_the_fork_is_replaced_and_the_task_starts_once() -> None:
    async with open_host(FAULTY) as host:
        warm = host.sh("exit 0")
        await host.start(warm)
        host.faults.arm(Fault(role="spawner", event="os.fork"))
        task = host.sh(SLEEP, name="other")
        await host.start(task)
        await host.plugin.wait(warm)
        await host.becomes(executors=1, workloads=1)


async def test_a_spawner_killed_while_it_starts_is_started_once_more() -> None:
    async with open_host(FAULTY) as host:
        host.faults.arm(Fault(role="spawner", event="socket.bind"))
        task = host.sh(SLEEP)
        await host.start(task)
        assert not host.faults.is_armed, "a spawner was killed"
        await host.becomes(executors=1, workloads=1)


async def test_files_of_a_killed_spawner_are_removed_by_the_next_plugin() -> None:
    async with open_host() as host:
        await host.start(host.sh("exit 0"))
        await host.kill_spawner(is_replaced=False)
        await host.plugin.kill()
        assert host.spawner_files <= set(files_below(host.state_dir))
        await host.launch()
        await until(
            lambda: not host.spawner_files & set(files_below(host.state_dir)), "they are removed"
        )
