"""A StartTask that is cancelled, late or cut off leaves nothing: nobody else would clean up (invariants 1, 6)."""

import itertools
import os
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.support.family import freeze
from tests.support.faults import Fault
from tests.support.host import FAULTY, SCRIPTED, Host, open_host
from tests.support.scripts import FAMILY, SLEEP
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver._proto import driver_pb2
from trio_driver._proto.driver_grpc import DriverStub
from trio_driver.rpc import RpcError, StatusCode, open_channel
from trio_driver.state import RunState

pytestmark = pytest.mark.cgroup

IS_FULL = os.environ.get("TRIO_DRIVER_FULL") == "1"

STEP_MS = 0.25 if IS_FULL else 2.0
"""Between two moments at which a start is cancelled."""

ENOUGH_ANSWERS = 3
"""So many starts in a row that were answered in time: later cancellations have nothing to cancel."""

STOPPED_POINTS = ("os.mkdir", "open", "socket.bind")
"""Points of the executor at which it is held while its start is cancelled."""


Start = Callable[[Host, Task, float], Awaitable[bool]]
"""StartTask with a limit in seconds; whether it was answered."""


async def cancelled_start(host: Host, task: Task, limit_s: float) -> bool:
    with trio.move_on_after(limit_s) as scope:
        await host.plugin.start(task)
    return not scope.cancelled_caught


async def late_start(host: Host, task: Task, limit_s: float) -> bool:
    request = driver_pb2.StartTaskRequest(task=task.config)
    try:
        await host.plugin.driver.StartTask(request, deadline_s=limit_s)
    except RpcError as error:
        if error.code is not StatusCode.DEADLINE_EXCEEDED:
            raise
        return False
    return True


async def is_whole_or_gone(host: Host, task: Task, *, was_answered: bool) -> bool:
    """Wait until all of the task is there or nothing of it; whether it is there.

    It may be there without having been answered: the answer was written when the client had just left.
    """

    def is_settled() -> bool:
        counts, state = host.family.counts(), task.run.state()
        if state is RunState.COMMITTED:
            return (counts.executors, counts.workloads) == (1, 1)
        return state is None and (counts.executors, counts.workloads) == (0, 0) and not was_answered

    await until(is_settled, lambda: f"{task.run.state()}\n{host.family.listing()}\n{host.files()}")
    is_there = task.run.exists()
    if is_there:
        await host.plugin.destroy(task)
    await host.nothing_is_left()
    return is_there


@pytest.mark.parametrize("start", [cancelled_start, late_start])
async def test_a_start_given_up_after_any_time_leaves_all_or_nothing(start: Start) -> None:
    async with open_host() as host:
        await host.start(warm := host.sh("exit 0"))
        await host.plugin.destroy(warm)
        given_up = orphans = answered_in_a_row = 0
        for step in itertools.count():
            task = host.sh(SLEEP, logs=False)
            was_answered = await start(host, task, step * STEP_MS / 1e3)
            answered_in_a_row = answered_in_a_row + 1 if was_answered else 0
            is_there = await is_whole_or_gone(host, task, was_answered=was_answered)
            given_up += not was_answered
            orphans += is_there and not was_answered
            if answered_in_a_row >= ENOUGH_ANSWERS:
                break
        print(f"{given_up} starts were given up, {orphans} of them just after the answer")
        assert orphans <= 1 + given_up // 4, "the answer is the last thing that happens"


async def test_a_start_that_misses_its_deadline_leaves_nothing() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": "never-started"})
        request = driver_pb2.StartTaskRequest(task=task.config)
        with pytest.raises(RpcError) as raised:
            await host.plugin.driver.StartTask(request, deadline_s=0.3)
        assert raised.value.code is StatusCode.DEADLINE_EXCEEDED
        await host.nothing_is_left()


async def test_a_start_whose_connection_is_lost_leaves_nothing() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": "never-started"})
        address = host.plugin.client.reattach_config.addr

        async def start_in_vain(stub: DriverStub) -> None:
            with pytest.raises(RpcError):
                await stub.StartTask(driver_pb2.StartTaskRequest(task=task.config))

        stream = await trio.open_unix_socket(address)
        async with open_channel(stream) as channel, trio.open_nursery() as nursery:
            nursery.start_soon(start_in_vain, DriverStub(channel))
            await host.begun(task)
            await trio.aclose_forcefully(stream)
        await host.nothing_is_left()
        await host.plugin.client.ping()


@pytest.mark.parametrize("point", STOPPED_POINTS)
async def test_a_start_cancelled_while_its_executor_stands_still_leaves_nothing(point: str) -> None:
    async with open_host(FAULTY) as host:
        await host.start(warm := host.sh("exit 0"))
        await host.plugin.destroy(warm)
        host.faults.arm(Fault(role="executor", event=point, signum=signal.SIGSTOP))
        task = host.sh(FAMILY)
        with trio.move_on_after(0.5) as scope:
            await host.plugin.start(task)
        assert scope.cancelled_caught
        await host.nothing_is_left()


async def test_a_start_cancelled_while_the_spawner_stands_still_leaves_nothing() -> None:
    async with open_host() as host:
        await host.start(warm := host.sh("exit 0"))
        await host.plugin.destroy(warm)
        host.spawner_may_die()
        await freeze(host.spawner)
        task = host.sh(FAMILY)
        with trio.move_on_after(0.2) as scope:
            await host.plugin.start(task)
        assert scope.cancelled_caught
        await host.plugin.destroy(task)
        await host.becomes(spawners=0)
        await host.nothing_is_left()


async def test_a_start_cancelled_while_it_waits_for_its_turn_starts_nothing() -> None:
    async with open_host(SCRIPTED) as host:
        first = host.task(config={"mode": "never-started"})
        second = host.again(first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.plugin.start, first)
            await host.begun(first)
            with trio.move_on_after(0.2):
                await host.plugin.start(second)
            assert host.family.counts().executors == 1
            nursery.cancel_scope.cancel()
        await host.nothing_is_left()


async def test_other_calls_are_undisturbed_by_a_cancelled_start() -> None:
    async with open_host(SCRIPTED) as host:
        running = host.task("sleep", "1000", name="running")
        await host.start(running)
        answers: list[driver_pb2.WaitTaskResponse] = []

        async def wait() -> None:
            answers.append(await host.plugin.wait(running))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            with trio.move_on_after(0.2):
                await host.plugin.start(host.task(config={"mode": "never-started"}))
            await host.becomes(executors=1, workloads=1)
            assert not answers
            await host.plugin.stop(running)
        assert answers[0].result.signal == 9
