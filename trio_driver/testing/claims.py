"""What every Nomad driver promises, one claim a function.

Rules:
- The docstring is the claim; the function fails by an exception, whose text says what was seen.
- It is given a host whose plugin runs, has had no task, and is ended afterwards.

Source: nomad-protocol §4, §5; what goes beyond them is said in the claim.
"""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import trio

from trio_driver._proto import base_pb2, driver_pb2
from trio_driver.linux import identify, open_pidfd, signal_pidfd
from trio_driver.rpc import RpcError
from trio_driver.testing.driver_host import DriverHost
from trio_driver.testing.leaks import Snapshot

GONE_LIMIT_S = 10.0
"""What a destroyed task left may take so long to be gone."""

PAUSE_S = 0.01

AT_ONCE_S = 5.0
"""A stream's first message comes within milliseconds; a busy host may need longer."""

QUIET_S = 0.3
"""A stream that is to stay open is looked at for so long."""

NO_SUCH_ID = "00000000-0000-0000-0000-000000000000/nobody/00000000"

CANCELLED_AFTER_S = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)


@dataclass(frozen=True, slots=True)
class Tasks:
    """What the driver can be asked to run, as config blocks."""

    stays: Mapping[str, object]
    """Until it is stopped."""
    ends: Mapping[str, object]
    """By itself, within seconds, successfully."""


Claim = Callable[[DriverHost, Tasks], Awaitable[None]]


async def tells_who_it_is(host: DriverHost, tasks: Tasks) -> None:
    """PluginInfo says that it is a driver, its name, its version, and API v0.1.0."""
    info = await host.base.PluginInfo(base_pb2.PluginInfoRequest())
    assert info.type == base_pb2.DRIVER, f"type {info.type}"
    assert info.name, "no name"
    assert info.plugin_version, "no version"
    assert "v0.1.0" in info.plugin_api_versions, f"API versions {list(info.plugin_api_versions)}"


async def gives_the_same_schemas_and_capabilities_each_time(host: DriverHost, tasks: Tasks) -> None:
    """TaskConfigSchema and Capabilities are constant."""
    schemas = [
        await host.driver.TaskConfigSchema(driver_pb2.TaskConfigSchemaRequest()) for _ in range(2)
    ]
    assert schemas[0] == schemas[1], "two schemas"
    found = [await host.driver.Capabilities(driver_pb2.CapabilitiesRequest()) for _ in range(2)]
    assert found[0] == found[1], "two sets of capabilities"


async def fingerprints_at_once_and_for_ever(host: DriverHost, tasks: Tasks) -> None:
    """The first fingerprint comes at once, and the stream stays open."""
    async with host.driver.Fingerprint(driver_pb2.FingerprintRequest()) as stream:
        with trio.fail_after(AT_ONCE_S):
            first = await anext(stream)
        assert first.health != driver_pb2.FingerprintResponse.UNDETECTED, first.health_description
        await stays_open(stream)


async def keeps_the_stream_of_events_open(host: DriverHost, tasks: Tasks) -> None:
    """TaskEvents stays open while nothing happens."""
    async with host.driver.TaskEvents(driver_pb2.TaskEventsRequest()) as stream:
        await stays_open(stream)


async def stays_open(stream: AsyncIterator[object]) -> None:
    """Messages may come; an end may not."""
    with trio.move_on_after(QUIET_S):
        async for _ in stream:
            pass
        raise AssertionError("the stream has ended")


async def hands_out_a_handle_that_echoes_the_task(host: DriverHost, tasks: Tasks) -> None:
    """StartTask answers a handle with a version of at least 1 and the task's configuration."""
    task = host.new_task(tasks.stays)
    handle = await host.start(task)
    assert handle.version >= 1, f"version {handle.version}"
    assert handle.config.id == task.id, "another id"
    assert handle.config.alloc_dir == task.alloc_dir, "another allocation directory"
    await host.destroy(task.id)


async def shows_a_task_that_runs(host: DriverHost, tasks: Tasks) -> None:
    """InspectTask says that a running task runs, and since when."""
    task = host.new_task(tasks.stays)
    await host.start(task)
    status = (await host.inspect(task.id)).task
    assert (status.id, status.state) == (task.id, driver_pb2.RUNNING), status
    assert status.started_at.seconds > 0, "no time of the start"
    await host.destroy(task.id)


async def tells_everybody_how_a_task_ended(host: DriverHost, tasks: Tasks) -> None:
    """WaitTask gives many callers the same result, before and after the end."""
    task = host.new_task(tasks.ends)
    await host.start(task)
    answers: list[driver_pb2.WaitTaskResponse] = []

    async def ask() -> None:
        answers.append(await host.wait(task.id))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    await ask()
    assert all(answer == answers[0] for answer in answers), "different answers"
    result = answers[0].result
    assert (result.exit_code, result.signal, answers[0].err) == (0, 0, ""), answers[0]
    await host.destroy(task.id)


async def stops_a_task(host: DriverHost, tasks: Tasks) -> None:
    """StopTask returns when the task is over, and WaitTask tells that it did not succeed."""
    task = host.new_task(tasks.stays)
    await host.start(task)
    await host.stop(task.id)
    assert (await host.inspect(task.id)).task.state == driver_pb2.EXITED, "it still runs"
    answer = await host.wait(task.id)
    assert answer.result.exit_code or answer.result.signal or answer.err, "it succeeded"
    assert not answer.err, f"how it ended is not known: {answer.err}"
    await host.destroy(task.id)


async def destroys_no_running_task_without_force(host: DriverHost, tasks: Tasks) -> None:
    """DestroyTask without force refuses a running task, with force ends it, and then forgets it."""
    task = host.new_task(tasks.stays)
    await host.start(task)
    await refuses(host.destroy(task.id, force=False))
    assert (await host.inspect(task.id)).task.state == driver_pb2.RUNNING, "it was ended"
    await host.destroy(task.id)
    await refuses(host.inspect(task.id))


async def refuses(call: Awaitable[object]) -> None:
    """The call is answered with an error."""
    try:
        await call
    except RpcError:
        return
    raise AssertionError("it was not refused")


async def knows_no_task_that_there_is_not(host: DriverHost, tasks: Tasks) -> None:
    """WaitTask, InspectTask, SignalTask and RecoverTask of an unknown id are errors."""
    handle = driver_pb2.TaskHandle(version=1, config=driver_pb2.TaskConfig(id=NO_SUCH_ID))
    await refuses(host.wait(NO_SUCH_ID))
    await refuses(host.inspect(NO_SUCH_ID))
    await refuses(host.signal(NO_SUCH_ID, "SIGUSR1"))
    await refuses(host.recover(handle))


async def knows_no_signal_that_there_is_not(host: DriverHost, tasks: Tasks) -> None:
    """SignalTask with a name that is no signal's is an error, and the task runs on."""
    task = host.new_task(tasks.stays)
    await host.start(task)
    await refuses(host.signal(task.id, "SIGNOSUCH"))
    assert (await host.inspect(task.id)).task.state == driver_pb2.RUNNING, "it was ended"
    await host.destroy(task.id)


async def recovers_a_task_after_its_plugin_was_killed(host: DriverHost, tasks: Tasks) -> None:
    """A running task survives its plugin, and the next one takes it over: RecoverTask, WaitTask."""
    task = host.new_task(tasks.stays)
    handle = await host.start(task)
    await kill(host)
    await host.launch()
    await host.recover(handle)
    assert (await host.inspect(task.id)).task.state == driver_pb2.RUNNING, "it is not there"
    await host.stop(task.id)
    answer = await host.wait(task.id)
    assert not answer.err, f"how it ended is not known: {answer.err}"
    await host.destroy(task.id)


async def kill(host: DriverHost) -> None:
    """SIGKILL the plugin, and see its end."""
    pidfd = open_pidfd(host.client.process)
    try:
        signal_pidfd(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    await host.client.wait_exited()


async def leaves_nothing_of_a_destroyed_task(host: DriverHost, tasks: Tasks) -> None:
    """After DestroyTask there is no process of the task, and no zombie."""
    # What the first task brings along for good, as a fork server, is there before the second.
    first = host.new_task(tasks.stays)
    await host.start(first)
    await host.destroy(first.id)
    await settled()
    before = Snapshot.of_processes()
    task = host.new_task(tasks.stays)
    await host.start(task)
    await host.destroy(task.id)
    await nothing_new_since(before)


async def settled() -> None:
    """Until two looks see the same processes: what was killed may still be going."""
    seen = Snapshot.of_processes()
    with trio.move_on_after(GONE_LIMIT_S):
        while True:
            await trio.sleep(QUIET_S)
            now = Snapshot.of_processes()
            if now == seen:
                return
            seen = now


async def nothing_new_since(before: Snapshot) -> None:
    left: list[str] = []
    with trio.move_on_after(GONE_LIMIT_S):
        while left := Snapshot.of_processes().new_since(before):
            await trio.sleep(PAUSE_S)
    assert not left, "left:" + ",".join(left)


async def runs_a_task_once_that_is_asked_for_twice(host: DriverHost, tasks: Tasks) -> None:
    """StartTask for an id that runs is refused or answered with the task that runs, never with a second one.

    An agent sends a request again whose answer was lost.
    """
    task = host.new_task(tasks.stays)
    before = Snapshot.of_processes()
    await host.start(task)
    await settled()
    alone = len(Snapshot.of_processes().new_since(before))
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(start_or_be_refused, host, task)
    await settled()
    now = len(Snapshot.of_processes().new_since(before))
    assert now == alone, f"{now} processes instead of {alone}"
    await host.destroy(task.id)


async def start_or_be_refused(host: DriverHost, task: driver_pb2.TaskConfig) -> None:
    try:
        await host.start(task)
    except RpcError:
        return


async def undoes_a_start_that_was_cancelled(host: DriverHost, tasks: Tasks) -> None:
    """A StartTask that is cancelled leaves nothing, for no other call follows it.

    Its answer may have been on its way already, but not each time.
    """
    first = host.new_task(tasks.stays)
    await host.start(first)
    await host.destroy(first.id)
    await settled()
    before = Snapshot.of_processes()
    answered = 0
    for delay_s in CANCELLED_AFTER_S:
        task = host.new_task(tasks.stays)
        with trio.move_on_after(delay_s) as scope:
            await host.start(task)
        await settled()
        if await runs(host, task.id):
            # Nobody can tell whether an answer that was sent has been taken.
            answered += scope.cancelled_caught
            await host.destroy(task.id)
    await nothing_new_since(before)
    assert answered <= 1, f"{answered} of {len(CANCELLED_AFTER_S)} cancelled starts went on"


async def runs(host: DriverHost, task_id: str) -> bool:
    try:
        return (await host.inspect(task_id)).task.state == driver_pb2.RUNNING
    except RpcError:
        return False


async def survives_garbage_on_its_socket(host: DriverHost, tasks: Tasks) -> None:
    """What is no HTTP/2 ends its own connection and nothing else."""
    async with await trio.open_unix_socket(host.client.reattach_config.addr) as stream:
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n" + b"\0" * 1000)
    await host.client.ping()


async def gives_statistics_at_once_and_until_cancelled(host: DriverHost, tasks: Tasks) -> None:
    """TaskStats sends a first sample at once, and the stream stays open while the task runs."""
    task = host.new_task(tasks.stays)
    await host.start(task)
    request = driver_pb2.TaskStatsRequest(task_id=task.id)
    request.collection_interval.FromMilliseconds(100)
    async with host.driver.TaskStats(request) as stream:
        with trio.fail_after(AT_ONCE_S):
            first = await anext(stream)
        assert first.stats.HasField("agg_resource_usage"), "no figures"
        await stays_open(stream)
    await host.destroy(task.id)


async def ends_with_its_agent(host: DriverHost, tasks: Tasks) -> None:
    """A plugin that is asked to shut down is gone within two seconds, and was not killed."""
    process = host.client.process
    with trio.fail_after(AT_ONCE_S):
        await host.end()
    assert identify(process.pid) != process, "it lives"


CLAIMS: tuple[Claim, ...] = (
    tells_who_it_is,
    gives_the_same_schemas_and_capabilities_each_time,
    fingerprints_at_once_and_for_ever,
    keeps_the_stream_of_events_open,
    hands_out_a_handle_that_echoes_the_task,
    shows_a_task_that_runs,
    tells_everybody_how_a_task_ended,
    stops_a_task,
    destroys_no_running_task_without_force,
    knows_no_task_that_there_is_not,
    knows_no_signal_that_there_is_not,
    recovers_a_task_after_its_plugin_was_killed,
    leaves_nothing_of_a_destroyed_task,
    runs_a_task_once_that_is_asked_for_twice,
    undoes_a_start_that_was_cancelled,
    survives_garbage_on_its_socket,
    gives_statistics_at_once_and_until_cancelled,
    ends_with_its_agent,
)
