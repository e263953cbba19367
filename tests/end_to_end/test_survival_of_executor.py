"""Who survives whom, the rows in which an executor or a workload ends (design §3)."""

import os
import signal

import pytest

from tests.support.exits import assert_exited, assert_lost
from tests.support.family import Role, freeze, gone, kill, send, thaw
from tests.support.host import SCRIPTED, open_host
from tests.support.scripts import FAMILY, FAMILY_SIZE, SLEEP, leaving_children
from trio_driver.linux import is_alive
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup


async def test_no_workload_process_outlives_a_killed_executor() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await host.becomes(executors=1, workloads=FAMILY_SIZE)
        await kill(task.executor)
        assert_lost(await host.plugin.wait(task))
        assert host.family.counts().workloads == 0, "they are gone before anybody is told"
        await host.becomes()


async def test_the_spawner_ends_what_an_executor_left_while_no_plugin_ran() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        handle = await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.kill()
        await kill(task.executor)
        await host.becomes(plugins=0, spawners=0)
        await host.launch()
        await host.plugin.recover(handle)
        assert_lost(await host.plugin.wait(task))


async def test_executor_and_plugin_killed_together_leave_a_lost_task_and_no_process() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        handle = await host.start(task)
        await task.out.wait_for("ready")
        send(host.plugin.process, signal.SIGKILL)
        send(task.executor, signal.SIGKILL)
        await host.plugin.kill()
        await host.becomes(plugins=0, spawners=0)
        await host.launch()
        await host.plugin.recover(handle)
        assert_lost(await host.plugin.wait(task))


@pytest.mark.skipif(os.geteuid() != 0, reason="without a cgroup nothing can find them")
async def test_the_next_plugin_sweeps_what_a_triple_failure_left() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        handle = await host.start(task)
        await task.out.wait_for("ready")
        await host.becomes(executors=1, workloads=FAMILY_SIZE)
        for process in (host.plugin.process, host.spawner, task.executor):
            send(process, signal.SIGSTOP)
        await host.kill_spawner(is_replaced=False)
        await kill(task.executor)
        await host.plugin.kill()
        assert host.family.counts().workloads == FAMILY_SIZE - 1, "all but the main process"
        await host.launch()
        await host.becomes(spawners=0)
        await host.plugin.recover(handle)
        assert_lost(await host.plugin.wait(task))


async def test_a_paused_executor_and_its_task_live_on() -> None:
    async with open_host() as host:
        task = host.sh('echo ready; read go < "$GO"; exit 4', env=host.gate)
        handle = await host.start(task)
        await freeze(task.executor)
        await host.plugin.recover(handle)
        assert (await host.plugin.inspect(task)).task.name == "web"
        await host.plugin.kill()
        await host.launch()
        await host.plugin.recover(handle)
        assert is_alive(task.workload)
        thaw(task.executor)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 4)


async def test_stop_needs_no_consent_of_a_stopped_executor() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await freeze(task.executor)
        await host.plugin.stop(task, grace_s=0.1)
        assert_lost(await host.plugin.wait(task))
        await host.becomes()


async def test_destroy_needs_no_consent_of_a_stopped_executor() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await freeze(task.executor)
        await host.plugin.destroy(task)
        await host.nothing_is_left()


async def test_stop_ends_a_task_whose_run_never_unwinds() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task("sleep", "1000", config={"mode": "deaf"})
        await host.start(task)
        await host.plugin.stop(task)
        await host.plugin.wait(task)
        await host.becomes()


async def test_an_executor_that_kills_itself_is_lost() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": "suicide"})
        with pytest.raises(RpcError, match="executor did not start the task"):
            await host.plugin.start(task)
        await host.nothing_is_left()


async def test_the_end_of_main_ends_the_task_and_what_it_left_behind() -> None:
    async with open_host() as host:
        task = host.sh(leaving_children(3), env=host.gate)
        await host.start(task)
        await task.out.wait_for("one")
        await task.out.wait_for("two")
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 3)
        await host.becomes()
        assert await task.out.wait_end(), "no process holds the log"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave its cgroup")
async def test_children_that_left_their_cgroup_end_with_main() -> None:
    async with open_host() as host:
        task = host.sh(leaving_children(3, escape=True), env=host.gate)
        await host.start(task)
        await task.out.wait_for("one")
        await task.out.wait_for("two")
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 3)
        await host.becomes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave its cgroup")
async def test_children_that_left_their_cgroup_end_with_a_killed_executor() -> None:
    async with open_host() as host:
        task = host.sh(leaving_children(3, escape=True), env=host.gate)
        await host.start(task)
        await task.out.wait_for("one")
        await task.out.wait_for("two")
        await kill(task.executor)
        await host.becomes()
        assert_lost(await host.plugin.wait(task))


async def test_sigterm_is_a_cancel_for_an_executor() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        send(task.executor, signal.SIGTERM)
        assert_lost(await host.plugin.wait(task), reason="SIGTERM")
        await host.becomes()


async def test_an_executor_whose_record_was_removed_ends_itself() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        executor = task.executor
        (task.run.path / "executor.json").unlink()
        await gone(executor)
        await host.becomes()
        assert Role.WORKLOAD not in host.family.look().values()
