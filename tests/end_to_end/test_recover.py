"""Adopt or destroy, no third result: RecoverTask and WaitTask after restarts (design §3)."""

import signal

import pytest
import trio

from tests.support.exits import assert_exited, assert_lost, assert_signaled
from tests.support.family import freeze, kill, send, thaw
from tests.support.host import Host, open_host
from tests.support.leaks import remove_cgroups
from tests.support.scripts import SLEEP
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver._proto import driver_pb2
from trio_driver.linux import boot_id, identify, is_alive
from trio_driver.rpc import RpcError, StatusCode

pytestmark = pytest.mark.cgroup


def as_persisted(handle: driver_pb2.TaskHandle) -> driver_pb2.TaskHandle:
    """The handle as an agent has it after its own restart: the driver's config is not kept (H7)."""
    persisted = driver_pb2.TaskHandle()
    persisted.CopyFrom(handle)
    persisted.config.msgpack_driver_config = b""
    return persisted


async def restart(host: Host) -> None:
    await host.plugin.kill()
    await host.launch()


async def test_a_running_task_is_recovered_from_a_handle_without_driver_config() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        before = await host.plugin.inspect(task)
        await restart(host)
        await host.plugin.recover(as_persisted(handle))
        assert await host.plugin.inspect(task) == before
        await host.plugin.stop(task)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_recovering_a_task_twice_or_while_it_is_known_changes_nothing() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 2', env=host.gate)
        handle = await host.start(task)
        for _ in range(2):
            await host.plugin.recover(handle)
        await restart(host)
        for _ in range(2):
            await host.plugin.recover(handle)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 2)
        await host.plugin.recover(handle)
        assert_exited(await host.plugin.wait(task), 2)


async def test_an_unknown_id_is_an_error_at_once() -> None:
    async with open_host() as host:
        task = host.task("true")
        handle = driver_pb2.TaskHandle(version=1, config=task.config)
        for _ in range(2):
            with pytest.raises(RpcError, match="no record of") as raised:
                await host.plugin.recover(handle)
            assert raised.value.code is StatusCode.NOT_FOUND
        with pytest.raises(RpcError, match="no record of"):
            await host.plugin.wait(task)
        with pytest.raises(RpcError, match="no record of"):
            await host.plugin.inspect(task)


async def test_recovery_does_not_wait_for_a_stopped_executor() -> None:
    async with open_host() as host:
        tasks = [host.sh(SLEEP, name=f"task-{number}") for number in range(3)]
        handles = [await host.start(task) for task in tasks]
        for task in tasks:
            await freeze(task.executor)
        await restart(host)
        with trio.fail_after(1):
            for handle in handles:
                await host.plugin.recover(handle)
        for task in tasks:
            thaw(task.executor)


async def test_an_ended_task_is_recovered_with_its_exit_code_after_two_restarts() -> None:
    async with open_host() as host:
        task = host.sh("exit 42")
        handle = await host.start(task)
        assert_exited(await host.plugin.wait(task), 42)
        for _ in range(2):
            await restart(host)
            await host.plugin.recover(as_persisted(handle))
            assert_exited(await host.plugin.wait(task), 42)
        status = (await host.plugin.inspect(task)).task
        assert (status.state, status.result.exit_code) == (driver_pb2.EXITED, 42)
        assert status.completed_at.ToNanoseconds() >= status.started_at.ToNanoseconds() > 0


async def test_a_destroyed_task_cannot_be_recovered() -> None:
    async with open_host() as host:
        task = host.sh("exit 0")
        handle = await host.start(task)
        await host.plugin.wait(task)
        await host.plugin.destroy(task)
        await restart(host)
        with pytest.raises(RpcError, match="no record of"):
            await host.plugin.recover(handle)


async def test_waiters_of_a_dead_plugin_find_their_task_at_the_next() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 5', env=host.gate)
        handle = await host.start(task)
        failures: list[StatusCode] = []

        async def wait() -> None:
            with pytest.raises(RpcError) as raised:
                await host.plugins[0].wait(task)
            failures.append(raised.value.code)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await until(lambda: task.run.is_committed(), "it runs")
            await restart(host)
        assert failures == [StatusCode.UNAVAILABLE] * 3
        await host.plugin.recover(handle)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 5)


async def everything_dies(host: Host, task: Task) -> None:
    """As by a power cut: plugin, spawner, executor and workload at once, and nobody settles anything."""
    for process in (host.plugin.process, host.spawner, task.executor):
        send(process, signal.SIGSTOP)
    workload = task.workload
    await host.kill_spawner(is_replaced=False)
    await kill(task.executor, workload)
    await host.plugin.kill()


async def test_after_a_reboot_a_running_task_is_lost() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        await everything_dies(host, task)
        await remove_cgroups(host.run_names())
        task.rewrite("executor.json", boot_id="another boot")
        await host.launch()
        await host.plugin.recover(handle)
        assert_lost(await host.plugin.wait(task))


async def test_after_a_reboot_an_exit_record_stays_true() -> None:
    async with open_host() as host:
        task = host.sh("exit 3")
        handle = await host.start(task)
        assert_exited(await host.plugin.wait(task), 3)
        await host.plugin.kill()
        for record in ("executor.json", "exit.json"):
            task.rewrite(record, boot_id="another boot")
        await host.launch()
        await host.plugin.recover(handle)
        assert_exited(await host.plugin.wait(task), 3)


@pytest.mark.parametrize("stranger", ["another boot", "another start time"])
async def test_a_stranger_that_has_the_pid_of_a_dead_executor_is_left_alone(stranger: str) -> None:
    async with open_host() as host:
        task, decoy = host.sh(SLEEP), host.sh(SLEEP, name="decoy")
        handle = await host.start(task)
        await host.start(decoy)
        innocent = decoy.workload
        await kill(task.executor)
        await host.plugin.wait(task)
        await host.plugin.kill()
        (task.run.path / "exit.json").unlink()
        changes: dict[str, object] = {"pid": innocent.pid, "start_ticks": innocent.start_ticks}
        changes |= {"boot_id": "another"} if stranger == "another boot" else {"start_ticks": 1}
        task.rewrite("executor.json", **changes)
        await host.launch()
        await host.plugin.recover(handle)
        assert_lost(await host.plugin.wait(task))
        await host.plugin.destroy(task)
        assert is_alive(innocent)
        assert identify(innocent.pid) == innocent
        assert innocent.boot_id == boot_id()
