"""Orphans: a task is destroyed because nobody asks for it, never on suspicion (design §3)."""

import time
from pathlib import Path

import pytest
import trio

from tests.support.exits import assert_exited
from tests.support.host import Host, open_host
from tests.support.scripts import FAMILY, SLEEP
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver._proto import driver_pb2
from trio_driver.linux import is_alive

pytestmark = pytest.mark.cgroup

GRACE = {"orphan_grace": "1s"}

LATER_S = 2.5
"""After this long an orphan would be gone: the grace time, a look, and then some."""

DAY_S = 24 * 3600.0


async def forgotten_by_the_agent(host: Host, task: Task) -> None:
    """A committed task whose agent died before it kept the handle; then its plugin is replaced."""
    await host.start(task)
    await host.plugin.kill()
    await host.launch(config=GRACE)


async def asks_for_another_task(host: Host) -> Task:
    """What tells the plugin which allocation root is its agent's."""
    known = host.sh("exit 0", name="known")
    await host.start(known)
    await host.plugin.wait(known)
    return known


async def nothing_happens_to(task: Task) -> None:
    """The task lives after everybody had the time to destroy it.

    The one wait by the clock: there is no event for something that does not happen.
    """
    await trio.sleep(LATER_S)
    assert is_alive(task.executor)
    assert is_alive(task.workload)


async def test_a_task_that_nobody_asks_for_is_destroyed_with_a_reason() -> None:
    async with open_host(config=GRACE) as host:
        orphan = host.sh(FAMILY)
        await forgotten_by_the_agent(host, orphan)
        async with host.plugin.connected_agent(), host.plugin.events() as events:
            await asks_for_another_task(host)
            async for event in events:
                if event.task_id == orphan.id:
                    assert "orphan" in event.message
                    break
            await host.becomes()
        await until(lambda: not orphan.run.exists(), "its files are gone")
        assert [record for record in host.plugin.log if "orphan" in record.message]


async def test_a_task_with_an_open_wait_is_no_orphan() -> None:
    async with open_host(config=GRACE) as host:
        task = host.sh('read go < "$GO"; exit 3', env=host.gate)
        await forgotten_by_the_agent(host, task)
        async with host.plugin.connected_agent(), trio.open_nursery() as nursery:
            await asks_for_another_task(host)
            answers: list[driver_pb2.WaitTaskResponse] = []

            async def wait() -> None:
                answers.append(await host.plugin.wait(task))

            nursery.start_soon(wait)
            await nothing_happens_to(task)
            host.open_gate()
        assert_exited(answers[0], 3)


async def test_a_task_that_was_recovered_is_no_orphan_within_the_grace_time() -> None:
    async with open_host(config=GRACE) as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        await host.plugin.kill()
        await host.launch(config=GRACE)
        async with host.plugin.connected_agent():
            with trio.move_on_after(LATER_S):
                while True:  # as Nomad does not, but each naming is a claim of its own
                    await host.plugin.recover(handle)
                    await trio.sleep(0.3)
            assert is_alive(task.executor)


async def test_without_an_agent_nothing_is_an_orphan() -> None:
    async with open_host(config=GRACE) as host:
        task = host.sh(SLEEP)
        await forgotten_by_the_agent(host, task)
        await asks_for_another_task(host)
        await nothing_happens_to(task)


async def test_a_task_of_another_allocation_root_is_not_ours_to_destroy() -> None:
    async with open_host(config=GRACE) as host:
        host.alloc_root = host.home / "other-agent"
        task = host.sh(SLEEP)
        await forgotten_by_the_agent(host, task)
        host.alloc_root = host.home / "alloc"
        async with host.plugin.connected_agent():
            await asks_for_another_task(host)
            await nothing_happens_to(task)


async def test_an_agent_that_named_no_task_has_no_orphans() -> None:
    async with open_host(config=GRACE) as host:
        task = host.sh(SLEEP)
        await forgotten_by_the_agent(host, task)
        async with host.plugin.connected_agent():
            await nothing_happens_to(task)


async def test_an_exit_that_nobody_asked_for_expires_after_a_day() -> None:
    async with open_host(config=GRACE) as host:
        old, young = host.sh("exit 1", name="old"), host.sh("exit 2", name="young")
        for task in (old, young):
            await host.start(task)
            await host.plugin.wait(task)
        await host.plugin.kill()
        old.rewrite("exit.json", ended_at_s=time.time() - DAY_S - 60)
        young.rewrite("exit.json", ended_at_s=time.time() - DAY_S + 60)
        await host.launch(config=GRACE)
        await until(lambda: not old.run.exists(), "the old one is removed")
        assert_exited(await host.plugin.wait(young), 2)
        await until(lambda: lock_of(host, old) not in locks(host), "its lock file, too")


def locks(host: Host) -> list[Path]:
    return list((host.state_dir / "locks").iterdir())


def lock_of(host: Host, task: Task) -> Path:
    return host.state_dir / "locks" / task.run.fence
