"""At most one live executor per (allocation, task), whoever asks for how many (design §3,
fence)."""

import contextlib
import signal

import pytest
import trio

from tests.support.exits import assert_exited, assert_lost, assert_signaled
from tests.support.family import freeze
from tests.support.faults import Fault
from tests.support.host import FAULTY, Host, open_host
from tests.support.scripts import FAMILY, FAMILY_SIZE, SLEEP
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver._proto import driver_pb2
from trio_driver.linux import is_alive
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup


async def start_all(host: Host, tasks: list[Task]) -> list[driver_pb2.TaskHandle | RpcError]:
    """StartTask for all of `tasks` at the same time; what each of them was answered."""
    answers: list[driver_pb2.TaskHandle | RpcError] = []

    async def start(task: Task) -> None:
        try:
            answers.append(await host.plugin.start(task))
        except RpcError as error:
            answers.append(error)

    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(start, task)
    return answers


async def test_ten_concurrent_starts_of_one_id_make_one_workload() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        answers = await start_all(host, [task] * 10)
        assert [type(answer) for answer in answers] == [driver_pb2.TaskHandle] * 10
        assert (
            len({answer.driver_state for answer in answers if not isinstance(answer, RpcError)})
            == 1
        )
        await host.becomes(executors=1, workloads=1)


async def test_concurrent_starts_of_ten_ids_of_one_task_leave_one_workload() -> None:
    async with open_host() as host:
        first = host.sh(SLEEP, logs=False)
        tasks = [first, *(host.again(first) for _ in range(9))]
        await start_all(host, tasks)
        await host.becomes(executors=1, workloads=1)


async def test_starts_of_several_tasks_do_not_wait_for_each_other() -> None:
    async with open_host() as host:
        tasks = [host.sh(SLEEP, name=f"task-{number}") for number in range(6)]
        answers = await start_all(host, tasks)
        assert not [answer for answer in answers if isinstance(answer, RpcError)]
        await host.becomes(executors=6, workloads=6)


async def test_the_same_id_again_is_answered_with_the_task_that_runs() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        executor = task.executor
        assert await host.start(task) == handle
        assert task.executor == executor
        await host.becomes(executors=1, workloads=1)


async def test_the_same_id_again_after_a_plugin_crash_is_answered_with_the_task_that_runs() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        executor = task.executor
        await host.plugin.kill()
        await host.launch()
        await host.start(task)
        assert task.executor == executor
        await host.becomes(executors=1, workloads=1)


async def test_an_id_that_has_ended_is_started_afresh() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 1', env=host.gate)
        await host.start(task)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 1)
        await host.start(task)
        await host.becomes(executors=1, workloads=1)
        await host.plugin.stop(task)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_a_new_id_supersedes_the_old_task_and_all_its_processes() -> None:
    async with open_host() as host:
        old = host.sh(FAMILY, logs=False)
        await host.start(old)
        await host.becomes(executors=1, workloads=FAMILY_SIZE)
        executor = old.executor
        async with trio.open_nursery() as nursery:
            answers: list[driver_pb2.WaitTaskResponse] = []

            async def wait_for_old() -> None:
                answers.append(await host.plugin.wait(old))

            nursery.start_soon(wait_for_old)
            new = host.again(old)
            await host.start(new)
        assert not is_alive(executor)
        assert_lost(answers[0])
        await host.becomes(executors=1, workloads=FAMILY_SIZE)
        with pytest.raises(RpcError, match="task not found"):
            await host.plugin.wait(old)


async def test_a_new_id_supersedes_a_task_of_a_dead_plugin_and_agent() -> None:
    async with open_host() as host:
        old = host.sh(FAMILY, logs=False)
        await host.start(old)
        await host.plugin.kill()
        await host.launch()
        await host.start(host.again(old))
        await host.becomes(executors=1, workloads=FAMILY_SIZE)


async def test_a_new_id_supersedes_a_stopped_executor() -> None:
    async with open_host() as host:
        old = host.sh(SLEEP, logs=False)
        await host.start(old)
        await freeze(old.executor)
        await host.start(host.again(old))
        await host.becomes(executors=1, workloads=1)


async def test_another_task_of_the_same_allocation_is_left_alone() -> None:
    async with open_host() as host:
        one = host.sh(SLEEP, name="one")
        other = host.sh(SLEEP, name="other", alloc_id=one.config.alloc_id)
        same_name = host.sh(SLEEP, name="one")
        for task in (one, other, same_name):
            await host.start(task)
        await host.becomes(executors=3, workloads=3)


async def test_two_plugins_that_share_a_state_directory_start_one_task_once() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP, logs=False)
        first = host.plugin
        second = await host.launch()

        async def start(number: int) -> None:
            with contextlib.suppress(RpcError):  # superseded by the other plugin, maybe
                await (first, second)[number % 2].start(host.again(task))

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(start, number)
        assert host.family.counts().executors <= 1
        await host.start(host.again(task))
        await host.becomes(plugins=2, executors=1, workloads=1)


async def test_a_plugin_adopts_what_another_one_with_its_state_directory_started() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 3', env=host.gate)
        handle = await host.start(task)
        await host.launch()
        await host.plugin.recover(handle)
        host.open_gate()
        for plugin in host.plugins:
            assert_exited(await plugin.wait(task), 3)


async def test_a_holder_of_the_fence_without_a_record_is_evicted() -> None:
    async with open_host(FAULTY) as host:
        task = host.sh(SLEEP, logs=False)
        # It has the lock and nothing else yet, and stands still.
        stopped = Fault(role="executor", event="os.mkdir", signum=signal.SIGSTOP)
        host.faults.arm(stopped)

        async def start_in_vain() -> None:
            with pytest.raises(RpcError):
                await host.plugins[0].start(task)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_in_vain)
            await until(lambda: not host.faults.is_armed, "the executor stands")
            await host.launch()
            await host.start(host.again(task))
        await host.becomes(plugins=2, executors=1, workloads=1)
