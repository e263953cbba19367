"""TaskEvents: what an operator reads in `nomad alloc status`."""

import os
from collections.abc import AsyncIterator

import pytest
import trio

from tests.support.family import kill
from tests.support.host import SCRIPTED, open_host
from tests.support.nomad_cgroups import nomad_cgroups
from tests.support.scripts import DEAF, SLEEP
from tests.support.task import Task
from trio_driver._proto import driver_pb2

pytestmark = pytest.mark.cgroup

Events = AsyncIterator[driver_pb2.DriverTaskEvent]


async def event_with(events: Events, task: Task, text: str) -> driver_pb2.DriverTaskEvent:
    """The next event of `task` that says `text`."""
    async for event in events:
        if event.task_id == task.id and text in event.message:
            return event
    raise AssertionError("the stream has ended (H11)")


async def test_an_event_names_its_task_and_its_time() -> None:
    async with open_host() as host, host.plugin.events() as events:
        task = host.sh(SLEEP)
        await host.start(task)
        event = await event_with(events, task, "Started")
        assert (event.alloc_id, event.task_name) == (task.config.alloc_id, "web")
        assert event.HasField("timestamp")
        assert str(task.workload_pid) in event.message
        assert event.annotations["executor_pid"] == str(task.executor.pid)


async def test_a_stop_is_told_with_its_signal_and_grace() -> None:
    async with open_host() as host, host.plugin.events() as events:
        task = host.sh(DEAF)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task, grace_s=0.2, signal_name="SIGTERM")
        event = await event_with(events, task, "Stopping")
        assert "SIGTERM" in event.message
        assert "0.2" in event.message


async def test_the_kill_after_the_grace_time_is_told() -> None:
    async with open_host() as host, host.plugin.events() as events:
        task = host.sh(DEAF)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task, grace_s=0.2)
        await event_with(events, task, "illed")  # Killed, or was killed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set limits")
async def test_out_of_memory_is_told() -> None:
    async with open_host() as host, host.plugin.events() as events:
        resources = driver_pb2.Resources()
        resources.allocated_resources.memory.memory_mb = 32
        task = host.sh("exec tail /dev/zero", resources=resources)
        with nomad_cgroups(task.config):
            await host.start(task)
            assert (await host.plugin.wait(task)).result.oom_killed
            await event_with(events, task, "memory")
            await host.plugin.destroy(task)


async def test_a_lost_executor_is_told() -> None:
    async with open_host() as host, host.plugin.events() as events:
        task = host.sh(SLEEP)
        await host.start(task)
        await kill(task.executor)
        await event_with(events, task, "lost")


async def test_what_an_author_tells_arrives() -> None:
    async with open_host(SCRIPTED) as host, host.plugin.events() as events:
        task = host.task(config={"mode": "tells"})
        await host.start(task)
        event = await event_with(events, task, "the author speaks")
        assert event.annotations["word"] == "hello"


async def test_what_nobody_heard_is_told_to_the_next_listener() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await host.plugin.stop(task)
        async with host.plugin.events() as events:
            await event_with(events, task, "Started")
            await event_with(events, task, "Stopping")


async def test_each_of_two_listeners_hears_everything() -> None:
    async with open_host() as host, host.plugin.events() as one, host.plugin.events() as other:
        task = host.sh(SLEEP)
        await host.start(task)
        await event_with(one, task, "Started")
        await event_with(other, task, "Started")


async def test_a_listener_that_went_away_is_no_burden() -> None:
    async with open_host() as host:
        for _ in range(3):
            with trio.move_on_after(0.05):
                async with host.plugin.events() as events:
                    async for _event in events:
                        pass
        task = host.sh(SLEEP)
        async with host.plugin.events() as events:
            await host.start(task)
            await event_with(events, task, "Started")


async def test_no_event_tells_arguments_or_environment() -> None:
    async with open_host() as host, host.plugin.events() as events:
        task = host.sh("exec sleep 1000 # s3cret", env={"PASSWORD": "s3cret"})
        await host.start(task)
        await host.plugin.stop(task)
        event = await event_with(events, task, "Stopping")
        assert "s3cret" not in str(event)
        for record in host.plugin.log:
            assert "s3cret" not in f"{record.message} {record.fields}"
