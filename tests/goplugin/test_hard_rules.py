"""The rules that keep an agent alive, H1 to H16, against a real plugin process.

H3's other half, any value in a log line, is in test_hclog.py; H4 to H11 are the services' business.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio

from trio_driver._proto import (
    base_grpc,
    base_pb2,
    controller_grpc,
    controller_pb2,
    driver_grpc,
    driver_pb2,
)
from trio_driver.goplugin import (
    Handshake,
    Level,
    LogRecord,
    PipeHeldError,
    host_environment,
    open_plugin,
)
from trio_driver.linux import children_of, identify, is_alive, open_pidfd, wait_pidfd
from trio_driver.rpc import RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from trio_driver.goplugin import PluginClient

    Execute = Callable[..., Awaitable[str]]

LIMIT_S = 20
"""Far more than anything here takes: only a failed test reaches it."""


async def kill_and_wait(pid: int) -> None:
    """End a process that is not our child."""
    process = identify(pid)
    assert process is not None
    pidfd = open_pidfd(process)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        with trio.fail_after(LIMIT_S):
            await wait_pidfd(pidfd)
    finally:
        os.close(pidfd)


async def test_h1_a_killed_plugin_is_noticed_at_once_while_its_children_live(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    async with open_plugin(sample_command, env=environ) as client:
        # It has the plugin's fd 1, which is not the agent's pipe.
        survivor = int(await execute(client, "spawn", "stdout"))
        os.kill(client.process.pid, signal.SIGKILL)
        with trio.fail_after(1):
            assert await client.wait_exited() == -signal.SIGKILL
        process = identify(survivor)
        assert process is not None
        assert is_alive(process)
        await kill_and_wait(survivor)
        remove_sockets(environ)


async def test_h1_no_descriptor_of_the_agent_but_stderr_passes_an_exec(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    # The wrapper leaves the plugin duplicates of both pipes, as careless scripts do.
    wrapper = ["sh", "-c", 'exec 7>&1 8>&2; exec "$@"', "sh", *sample_command]
    async with open_plugin(wrapper, env=environ) as client:
        pipes = {os.readlink(f"/proc/{client.process.pid}/fd/{fd}") for fd in (2, 7, 8)}
        listing = await execute(client, "child-fds")
    targets = [line.split(" -> ")[1] for line in listing.splitlines() if " -> " in line]
    # stdin, stdout (ls is read by the plugin), stderr, and the listed directory
    assert len(targets) == 4
    assert len(pipes) == 2
    assert [target for target in targets if target in pipes] == [targets[2]]


async def test_h1_a_child_that_holds_stderr_is_an_error_of_the_host(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    survivor = 0
    with pytest.raises(PipeHeldError):
        async with open_plugin(sample_command, env=environ) as client:
            survivor = int(await execute(client, "spawn", "stderr"))
    await kill_and_wait(survivor)


@pytest.mark.parametrize("unbuffered", ["", "1"])
async def test_h2_nothing_but_the_handshake_reaches_the_agents_stdout(
    sample_command: list[str], environ: dict[str, str], unbuffered: str
) -> None:
    # Unbuffered, what a library prints while it is imported is out before main() runs.
    environ |= {**host_environment(), "SAMPLE_NOISE": "1", "PYTHONUNBUFFERED": unbuffered}
    process = await trio.lowlevel.open_process(
        sample_command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    )
    assert process.stdout is not None
    async with process.stdout as stdout:
        output = b""
        with trio.fail_after(LIMIT_S):
            # The pipe is at its end while the plugin runs: nothing can ever follow.
            async for chunk in stdout:
                output += chunk
        assert process.poll() is None
        process.terminate()
        with trio.fail_after(LIMIT_S):
            assert await process.wait() == 0
    assert output.count(b"\n") == 1
    assert Handshake.parse(output.decode()).network == "unix"


@pytest.mark.parametrize(
    "text", ["words", '{"@message": null}', '{"@level": 1, "@timestamp": {}}', "panic: oh"]
)
async def test_h3_whatever_is_printed_is_a_debug_line_that_hurts_nobody(
    sample_command: list[str], environ: dict[str, str], execute: Execute, text: str
) -> None:
    environ["SAMPLE_NOISE"] = "1"
    records: list[LogRecord] = []
    async with open_plugin(sample_command, env=environ, on_log=records.append) as client:
        await execute(client, "print", text)
    assert not any(record.panics_agent for record in records)
    printed = [record for record in records if record.module == "trio_driver.stdout"]
    assert {record.level for record in printed} == {Level.DEBUG}
    messages = [record.message for record in printed]
    assert messages[0] == "a library says hello while it is imported"
    assert messages[-1] == "the last words"
    assert sorted(messages[1:-1]) == sorted(
        f"{origin} {text}" for origin in ("print", "write", "puts", "child")
    )


async def test_printing_more_than_a_pipe_holds_does_not_stop_the_plugin(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    records: list[LogRecord] = []
    async with open_plugin(sample_command, env=environ, on_log=records.append) as client:
        with trio.fail_after(LIMIT_S):
            await execute(client, "print-much", str(3_000_000))
    printed = "".join(r.message for r in records if r.module == "trio_driver.stdout")
    assert printed.count("x") == 3_000_000


async def test_log_records_arrive_with_level_module_time_and_pairs(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    records: list[LogRecord] = []
    async with open_plugin(sample_command, env=environ, on_log=records.append) as client:
        await execute(client, "log", "hello")
    logged = [record for record in records if record.module == "sample"]
    assert [(record.level, record.message) for record in logged] == [
        (level, "hello") for level in (Level.DEBUG, Level.INFO, Level.WARN, Level.ERROR)
    ]
    assert [record.fields for record in logged] == [
        {"number": number, "_@message": None} for number in (10, 20, 30, 40)
    ]
    assert all(record.timestamp is not None for record in logged)


async def test_h12_a_probe_starts_nothing_and_leaves_nothing(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path
) -> None:
    async with open_plugin(sample_command, env=environ) as client:
        stub = base_grpc.BasePluginStub(client.channel)
        response = await stub.PluginInfo(base_pb2.PluginInfoRequest())
        assert response.name == "sample"
        assert children_of(client.process.pid) == []
        assert len(os.listdir(socket_dir)) == 1
        process = client.process
    assert not is_alive(process)
    assert os.listdir(socket_dir) == []


async def test_h13_shutdown_is_answered_and_ends_the_plugin_in_time_while_calls_are_open(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path
) -> None:
    records: list[LogRecord] = []
    async with open_plugin(sample_command, env=environ, on_log=records.append) as client:
        controller = controller_grpc.GRPCControllerStub(client.channel)
        async with AsyncExitStack() as stack:
            await open_streams(stack, client, 3)
            nursery = await stack.enter_async_context(trio.open_nursery())
            for number in range(20):
                nursery.start_soon(wait_task, client, str(number))
            await client.ping()  # after the calls above, so those have begun
            with trio.fail_after(2):
                await controller.Shutdown(controller_pb2.Empty())
                assert await client.wait_exited() == 0
            nursery.cancel_scope.cancel()
        assert os.listdir(socket_dir) == []
    ended = Counter(r.fields["task"] for r in records if r.message == "WaitTask ended")
    assert ended == {str(number): 1 for number in range(20)}


async def test_sigterm_ends_the_plugin_like_shutdown(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path
) -> None:
    async with open_plugin(sample_command, env=environ) as client, AsyncExitStack() as stack:
        await open_streams(stack, client, 3)
        os.kill(client.process.pid, signal.SIGTERM)
        with trio.fail_after(2):
            assert await client.wait_exited() == 0
        assert os.listdir(socket_dir) == []


async def test_h14_two_hundred_streams_run_on_one_connection(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    async with open_plugin(sample_command, env=environ) as client, AsyncExitStack() as stack:
        with trio.fail_after(LIMIT_S):
            await open_streams(stack, client, 200)
            await client.ping()


async def test_h15_a_signal_to_the_process_group_ends_nothing_and_no_child_inherits_it(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    # What an agent may hand down: SIGHUP ignored (nohup) and a signal blocked. In its own group.
    script = (
        "import os, signal, sys; os.setsid(); signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    wrapper = [sample_command[0], "-c", script, *sample_command]
    async with open_plugin(wrapper, env=environ) as client:
        for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGINT):
            os.killpg(client.process.pid, signum)
            await client.ping()
        status = await execute(client, "child-status")
    masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
    ignored = {n for n in range(1, 65) if int(masks["SigIgn"], 16) >> (n - 1) & 1}
    assert ignored.isdisjoint((signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ))
    assert int(masks["SigBlk"], 16) == 0


async def test_an_error_that_ends_the_plugin_is_logged_as_an_error(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    records: list[LogRecord] = []
    async with open_plugin(sample_command, env=environ, on_log=records.append) as client:
        with pytest.raises(RpcError):
            await execute(client, "fail")
        with trio.fail_after(LIMIT_S):
            assert await client.wait_exited() == -signal.SIGABRT
        remove_sockets(environ)
    (record,) = [record for record in records if record.level is Level.ERROR]
    assert record.message == "the plugin failed"
    assert "on purpose" in str(record.fields["exception"])


async def open_streams(stack: AsyncExitStack, client: PluginClient, count: int) -> None:
    """Open `count` Fingerprint and TaskEvents streams; each has sent its first message."""
    stub = driver_grpc.DriverStub(client.channel)
    for _ in range((count + 1) // 2):
        fingerprints = await stack.enter_async_context(
            stub.Fingerprint(driver_pb2.FingerprintRequest())
        )
        events = await stack.enter_async_context(stub.TaskEvents(driver_pb2.TaskEventsRequest()))
        assert (await anext(fingerprints)).health_description == "well"
        assert (await anext(events)).message == "first"


async def wait_task(client: PluginClient, task_id: str) -> None:
    stub = driver_grpc.DriverStub(client.channel)
    with pytest.raises(RpcError):
        await stub.WaitTask(driver_pb2.WaitTaskRequest(task_id=task_id))


def remove_sockets(environ: dict[str, str]) -> None:
    """What a killed plugin cannot do itself."""
    for name in os.listdir(environ["TMPDIR"]):
        os.unlink(os.path.join(environ["TMPDIR"], name))
