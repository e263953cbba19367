"""The story of a task, as an operator reads it: what happened, on what evidence, and each line once."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.support.family import kill
from tests.support.host import Host, open_host
from tests.support.nomad_cgroups import nomad_cgroups
from tests.support.scripts import SLEEP
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver._proto import driver_pb2

pytestmark = pytest.mark.cgroup

needs_limits = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set limits")
reads_log = pytest.mark.skipif(
    not os.access("/dev/kmsg", os.R_OK), reason="the kernel's log may not be read"
)

EAT = "tail /dev/zero"


class Story:
    """What an agent has been told of one task so far."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.events: list[driver_pb2.DriverTaskEvent] = []

    @property
    def kinds(self) -> list[str]:
        return [event.annotations["event"] for event in self.events]

    def of(self, kind: str) -> driver_pb2.DriverTaskEvent:
        (event,) = (event for event in self.events if event.annotations["event"] == kind)
        return event

    async def has(self, kind: str) -> driver_pb2.DriverTaskEvent:
        await until(lambda: kind in self.kinds, f"{kind} is told")
        return self.of(kind)


@asynccontextmanager
async def told(host: Host, *stories: Story) -> AsyncGenerator[None]:
    """The last plugin tells of the tasks for the length of the block."""

    async def listen(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with host.plugin.driver.TaskEvents(driver_pb2.TaskEventsRequest()) as events:
            task_status.started()
            async for event in events:
                for story in stories:
                    if story.task.id == event.task_id:
                        story.events.append(event)

    async with trio.open_nursery() as nursery:
        await nursery.start(listen)
        yield
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_the_last_line_tells_the_end_and_its_evidence_before_wait_task_answers() -> None:
    async with open_host() as host:
        for _ in range(5):
            task = host.sh("exit 3")
            story = Story(task)
            async with told(host, story):
                await host.start(task)
                await host.plugin.wait(task)
                await trio.testing.wait_all_tasks_blocked()
                assert story.kinds == ["started", "ended"]
            ended, pid = story.of("ended"), story.of("started").annotations["pid"]
            assert ended.message == f"Exited with code 3 (main process {pid}, status from wait)"
            assert ended.annotations["exit_code"] == "3"
            assert ended.annotations["oom_killed"] == "false"


async def test_a_stop_is_a_story_of_its_steps() -> None:
    async with open_host() as host:
        task = host.sh("trap '' INT; echo ready; while :; do sleep 1000; done")
        story = Story(task)
        async with told(host, story):
            await host.start(task)
            await task.out.wait_for("ready")
            await host.plugin.stop(task, grace_s=0.2)
            await story.has("ended")
        assert story.kinds == ["started", "stopping", "killed", "ended"]
        assert story.of("ended").annotations["signal"] == str(int(signal.SIGKILL))
        assert "stopped" in story.of("ended").annotations["evidence"]


async def test_a_plain_sigkill_is_not_told_as_out_of_memory() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        story = Story(task)
        async with told(host, story):
            await host.start(task)
            os.kill(task.workload_pid, signal.SIGKILL)
            ended = await story.has("ended")
        assert story.kinds == ["started", "ended"]
        assert "memory" not in ended.message
        assert "SIGKILL" in ended.message


async def test_a_lost_executor_is_told_and_then_the_end() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        story = Story(task)
        async with told(host, story):
            await host.start(task)
            await kill(task.executor)
            await story.has("ended")
        assert story.kinds == ["started", "executor_lost", "ended"]
        assert story.of("ended").message.startswith("Lost: ")


async def test_each_new_plugin_tells_that_it_adopted_the_task_and_nothing_twice() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        story = Story(task)
        async with told(host, story):
            handle = await host.start(task)
            await story.has("started")
        for number in (1, 2):
            await host.plugin.kill()
            await host.launch()
            async with told(host, story):
                await host.plugin.recover(handle)
                await until(
                    lambda number=number: story.kinds.count("adopted") == number, "it is adopted"
                )
        assert story.kinds == ["started", "adopted", "adopted"]
        assert "plugin" in story.events[-1].message
        assert story.events[-1].annotations["pid"] == str(task.workload_pid)


async def test_an_end_while_no_plugin_lived_is_told_by_the_next_and_by_no_later_one() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 7', env=host.gate)
        story = Story(task)
        async with told(host, story):
            handle = await host.start(task)
            await story.has("started")
        await host.plugin.kill()
        host.open_gate()
        await until(lambda: task.run.read_exit() is not None, "the task ends alone")
        for _ in range(2):
            await host.launch()
            async with told(host, story):
                await host.plugin.recover(handle)
                await host.plugin.wait(task)
                await story.has("ended")
            await host.plugin.kill()
        assert story.kinds == ["started", "ended"]
        assert "code 7" in story.of("ended").message


async def test_what_nobody_heard_from_a_plugin_that_was_killed_is_told_by_the_next() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        await host.plugin.stop(task)
        await host.plugin.kill()
        await host.launch()
        story = Story(task)
        async with told(host, story):
            await host.plugin.recover(handle)
            await story.has("ended")
        assert story.kinds == ["started", "stopping", "ended"]


@needs_limits
async def test_a_child_killed_for_memory_is_told_while_its_main_process_lives_on() -> None:
    async with open_host() as host:
        resources = driver_pb2.Resources()
        resources.allocated_resources.memory.memory_mb = 32
        task = host.sh(f'{EAT}; read go < "$GO"; exit 5', env=host.gate, resources=resources)
        story = Story(task)
        with nomad_cgroups(task.config):
            async with told(host, story):
                await host.start(task)
                event = await story.has("out_of_memory")
                assert story.kinds == ["started", "out_of_memory"]
                host.open_gate()
                await host.plugin.wait(task)
                await story.has("ended")
            assert event.annotations["kills"] == "1"
            if os.access("/dev/kmsg", os.R_OK):
                assert "(tail)" in event.message
                assert str(task.workload_pid) not in event.annotations["pids"].split()
            assert story.kinds == ["started", "out_of_memory", "ended"]
            assert "the kernel killed a process of the task" in story.of("ended").message
            await host.plugin.destroy(task)


@needs_limits
@reads_log
async def test_a_main_process_killed_for_memory_is_named_and_so_is_the_evidence() -> None:
    async with open_host() as host:
        resources = driver_pb2.Resources()
        resources.allocated_resources.memory.memory_mb = 32
        task = host.sh(f"exec {EAT}", resources=resources)
        story = Story(task)
        with nomad_cgroups(task.config):
            async with told(host, story):
                await host.start(task)
                await host.plugin.wait(task)
                ended = await story.has("ended")
            pid = story.of("started").annotations["pid"]
            assert f"process {pid} (tail)" in story.of("out_of_memory").message
            assert "the task's limit was reached" in story.of("out_of_memory").message
            assert ended.annotations["oom_killed"] == "true"
            assert "killed by the kernel: out of memory" in ended.message
            await host.plugin.destroy(task)
