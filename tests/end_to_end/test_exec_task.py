"""ExecTask, which checks and templates use, and the texts of what is refused."""

import pytest
import trio
from google.protobuf.duration_pb2 import Duration

from tests.support.family import freeze, thaw
from tests.support.host import Host, open_host
from tests.support.scripts import HIDDEN, SLEEP
from tests.support.sessions import Request, open_session, run_in
from tests.support.task import Task
from trio_driver._proto import driver_pb2
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup


async def running(host: Host, *, name: str = "web") -> Task:
    task = host.sh(SLEEP, name=name)
    await host.start(task)
    await task.out.wait_for("ready")
    return task


async def check(
    host: Host, task: Task, *command: str, limit_s: float = 20
) -> driver_pb2.ExecTaskResponse:
    """What an agent sends for a script check."""
    timeout = Duration()
    timeout.FromNanoseconds(int(limit_s * 1e9))
    request = driver_pb2.ExecTaskRequest(task_id=task.id, command=command, timeout=timeout)
    with trio.fail_after(30):
        return await host.plugin.driver.ExecTask(request)


async def test_output_is_merged_and_the_exit_code_told() -> None:
    async with open_host() as host:
        task = await running(host)
        script = "echo out; echo err >&2; echo more; cat; exit 7"
        response = await check(host, task, "sh", "-c", script)
        assert response.stdout == b"out\nerr\nmore\n"
        assert response.stderr == b""
        assert response.result == driver_pb2.ExitResult(exit_code=7)


async def test_the_last_4096_bytes_of_the_output_are_kept() -> None:
    async with open_host() as host:
        task = await running(host)
        script = "head -c 1000000 /dev/zero; head -c 4090 /dev/zero | tr '\\0' x; echo 'end'"
        response = await check(host, task, "sh", "-c", script)
        assert response.stdout == b"\0\0" + b"x" * 4090 + b"end\n"


async def test_a_signal_counts_128_and_its_number() -> None:
    async with open_host() as host:
        response = await check(host, await running(host), "sh", "-c", "kill -TERM $$")
        assert response.result == driver_pb2.ExitResult(exit_code=143, signal=15)


async def test_a_timeout_kills_the_command_and_what_it_started() -> None:
    async with open_host() as host:
        task = await running(host)
        script = f"trap '' TERM INT; {HIDDEN} sleep 1000 & echo so far; wait"
        begin_s = trio.current_time()
        response = await check(host, task, "sh", "-c", script, limit_s=1)
        assert 1 <= trio.current_time() - begin_s < 5
        assert response.stdout == b"so far\n"
        assert response.result == driver_pb2.ExitResult(exit_code=137, signal=9)
        assert host.family.counts().workloads == 1


async def test_a_background_process_that_holds_the_output_is_killed_at_the_timeout() -> None:
    async with open_host() as host:
        task = await running(host)
        response = await check(host, task, "sh", "-c", "sleep 1000 & echo main; exit 4", limit_s=1)
        assert (response.stdout, response.result.exit_code) == (b"main\n", 4)
        assert host.family.counts().workloads == 1


async def test_no_timeout_is_no_limit() -> None:
    async with open_host() as host:
        task = await running(host)
        response = await check(host, task, "sh", "-c", "sleep 1; exit 3", limit_s=0)
        assert response.result.exit_code == 3


async def test_a_call_that_is_cancelled_kills_the_command() -> None:
    async with open_host() as host:
        task = await running(host)
        with trio.move_on_after(1):
            await check(host, task, "sh", "-c", f"{HIDDEN} exec sleep 1000", limit_s=0)
        await host.becomes(executors=1, workloads=1)


async def test_a_frozen_executor_holds_up_nobody_else() -> None:
    async with open_host() as host:
        frozen, other = await running(host), await running(host, name="other")
        await freeze(frozen.executor)
        with trio.move_on_after(1) as asking:
            await check(host, frozen, "true")
        assert asking.cancelled_caught
        assert (await check(host, other, "true")).result.exit_code == 0
        thaw(frozen.executor)
        assert (await check(host, frozen, "true")).result.exit_code == 0
        await host.becomes(executors=2, workloads=2)


async def test_a_check_has_the_tasks_environment_as_it_is() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP, user="nobody", env={"HOME": "/of/the/job"})
        await host.start(task)
        response = await check(host, task, "sh", "-c", "echo $(id -un) $HOME")
        assert response.stdout == b"nobody /of/the/job\n"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ((), "error cmd must have at least one value"),
        (("/no/such",), 'failed to start command: command "/no/such": No such file'),
        (("no-such-name",), 'failed to start command: command "no-such-name": found neither'),
        (("/etc/passwd",), 'failed to start command: command "/etc/passwd": Permission denied'),
        (("",), "failed to start command: command: must not be empty"),
        (("true", "\0"), "failed to start command: command: must not contain NUL"),
    ],
    ids=["none", "no file", "no name", "no program", "empty", "NUL"],
)
async def test_a_command_that_cannot_be_started_is_an_error_that_names_it(
    command: tuple[str, ...], text: str
) -> None:
    async with open_host() as host:
        task = await running(host)
        with pytest.raises(RpcError) as refused:
            await check(host, task, *command)
        assert text in str(refused.value)
        for tty in (False, True):
            async with open_session(host.plugin, task, *command, tty=tty) as session:
                with pytest.raises(RpcError) as refused:
                    await session.finish()
                assert text in str(refused.value)
        await host.becomes(executors=1, workloads=1)


async def test_the_first_message_must_be_the_setup() -> None:
    async with open_host() as host:
        async with host.plugin.driver.ExecTaskStreaming() as call:
            await call.send(Request())
            with pytest.raises(RpcError, match="first message should always be setup"):
                await anext(call)
        async with host.plugin.driver.ExecTaskStreaming() as call:
            await call.done_sending()
            with pytest.raises(RpcError, match="failed to receive initial message"):
                await anext(call)


async def test_a_size_needs_a_terminal() -> None:
    async with open_host() as host:
        task = await running(host)
        async with open_session(host.plugin, task, "sleep", "1000") as session:
            await session.resize(rows=10, columns=10)
            with pytest.raises(RpcError, match="attempted to resize a non-tty session"):
                await session.finish()
        await host.becomes(executors=1, workloads=1)


async def test_tasks_that_are_unknown_or_have_ended_have_no_sessions() -> None:
    async with open_host() as host:
        task = host.task("true")
        for refused in ("no record of", "has ended"):
            with pytest.raises(RpcError, match=refused):
                await run_in(host.plugin, task, "true")
            with pytest.raises(RpcError, match=refused):
                await check(host, task, "true")
            if refused == "no record of":
                await host.start(task)
                await host.plugin.wait(task)


async def test_a_negative_timeout_is_refused() -> None:
    async with open_host() as host:
        with pytest.raises(RpcError, match="timeout -1 s: must not be negative"):
            await check(host, host.task("true"), "true", limit_s=-1)


async def test_a_command_is_found_as_a_shell_in_the_tasks_directory_finds_it() -> None:
    async with open_host() as host:
        task = await running(host)
        write = "printf '#!/bin/sh\\nexit 6\\n' > local/own && chmod 755 local/own"
        assert await run_in(host.plugin, task, write) == (b"", b"", 0)
        for name in ("local/own", "./local/own", "own"):
            assert (await check(host, task, name)).result.exit_code == 6
