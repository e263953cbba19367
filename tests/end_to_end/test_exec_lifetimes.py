"""Whatever ends a session leaves nothing of it; and what does not end it, does not."""

import contextlib
import os
import socket
from pathlib import Path

import pytest
import trio

from tests.support.family import kill
from tests.support.host import Host, open_host
from tests.support.scripts import DEAF, HIDDEN, HIDDEN_SIZE, SLEEP
from tests.support.sessions import Session, open_session, run_in
from tests.support.task import Task
from tests.support.tier import HostKind, host_of
from tests.support.waiting import until
from trio_driver._proto import driver_pb2, executor_pb2
from trio_driver._proto.driver_grpc import DriverStub
from trio_driver.executor import ExecSpec, open_exec
from trio_driver.linux import cgroup
from trio_driver.rpc import RpcError, open_channel

pytestmark = pytest.mark.cgroup

FAMILY = f"{HIDDEN} echo ready; exec sleep 1000"
FAMILY_SIZE = HIDDEN_SIZE + 1


async def running(host: Host, script: str = SLEEP, **env: str) -> Task:
    task = host.sh(script, env=env)
    await host.start(task)
    await task.out.wait_for("ready")
    return task


def session_cgroups(task: Task) -> list[Path]:
    """The cgroups of the task's sessions that there are now."""
    assert task.record.containment is not None
    path = task.record.containment.kill_path
    return list(Path(path).glob("exec-*")) if path else []


async def only_the_task_is_left(host: Host, task: Task) -> None:
    """One executor and its workload's one process live; no session has a cgroup."""
    await host.becomes(plugins=len(host.family.plugin_pids), executors=1, workloads=1)
    await until(lambda: not session_cgroups(task), "no session has a cgroup")


@pytest.mark.parametrize("tty", [False, True])
async def test_a_session_that_ends_takes_along_what_it_left(tty: bool) -> None:
    async with open_host() as host:
        task = await running(host)
        script = f"{HIDDEN} echo done; exit 3"
        result = await run_in(host.plugin, task, script, tty=tty)
        assert result == (b"done\r\n" if tty else b"done\n", b"", 3)
        assert host.family.counts().workloads == 1, "the exit was told too early"
        assert not session_cgroups(task)


@pytest.mark.parametrize("tty", [False, True])
async def test_a_client_that_resets_its_call_ends_the_session(tty: bool) -> None:
    async with open_host() as host:
        task = await running(host)
        async with open_session(host.plugin, task, "sh", "-c", FAMILY, tty=tty) as session:
            await session.wait_for(b"ready")
            await host.becomes(executors=1, workloads=1 + FAMILY_SIZE)
        await only_the_task_is_left(host, task)


@pytest.mark.parametrize("script", [FAMILY, "echo ready; exec yes"], ids=["silent", "loud"])
async def test_a_client_whose_connection_ends_ends_the_session(script: str) -> None:
    async with open_host() as host:
        task = await running(host)
        stream = await trio.open_unix_socket(host.plugin.client.reattach_config.addr)
        async with open_channel(stream) as channel, DriverStub(channel).ExecTaskStreaming() as call:
            request = driver_pb2.ExecTaskStreamingRequest()
            request.setup.task_id = task.id
            request.setup.command.extend(["sh", "-c", script])
            await call.send(request)
            await Session(call).wait_for(b"ready")
            await stream.aclose()  # first, so that nobody sends a reset
        await only_the_task_is_left(host, task)


@pytest.mark.parametrize("tty", [False, True])
async def test_a_plugin_that_is_killed_ends_its_sessions_and_not_the_task(tty: bool) -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        handle = await host.start(task)
        await task.out.wait_for("ready")
        async with open_session(host.plugin, task, "sh", "-c", FAMILY, tty=tty) as session:
            await session.wait_for(b"ready")
            await host.plugin.kill()
            with pytest.raises(RpcError):
                await session.finish()
        await host.becomes(plugins=0, executors=1, workloads=1)
        await host.launch()
        await host.plugin.recover(handle)
        assert await run_in(host.plugin, task, "exit 4") == (b"", b"", 4)


@pytest.mark.parametrize("tty", [False, True])
async def test_an_executor_that_is_killed_leaves_nothing_of_its_sessions(tty: bool) -> None:
    async with open_host() as host:
        task = await running(host)
        async with open_session(host.plugin, task, "sh", "-c", FAMILY, tty=tty) as session:
            await session.wait_for(b"ready")
            await kill(task.executor)
            with pytest.raises(RpcError, match="executor"):
                await session.finish()
        await host.plugin.wait(task)
        await host.becomes()


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("how", ["stop", "destroy", "ends"])
async def test_a_session_ends_with_its_task(how: str, tty: bool) -> None:
    async with open_host() as host:
        task = await running(host, 'echo ready; read go < "$GO"', **host.gate)
        async with open_session(host.plugin, task, "sh", "-c", FAMILY, tty=tty) as session:
            await session.wait_for(b"ready")
            match how:
                case "stop":
                    await host.plugin.stop(task, grace_s=5)
                case "destroy":
                    await host.plugin.destroy(task)
                case _:
                    host.open_gate()
                    await host.plugin.wait(task)
            assert host.family.counts().workloads == 0, "the end was told too early"
            # DestroyTask kills the executor too, which may or may not come to tell.
            with contextlib.suppress(RpcError) if how == "destroy" else contextlib.nullcontext():
                await session.finish()
            assert session.exit_code == 137 or (how == "destroy" and session.exit_code is None)
        await host.becomes()


async def test_a_session_whose_client_does_not_read_does_not_hold_up_the_stop() -> None:
    async with open_host() as host:
        task = await running(host)
        async with open_session(host.plugin, task, "yes") as session:
            await session.wait_for(b"y")
            begin_s = trio.current_time()
            await host.plugin.stop(task, grace_s=5)
            assert trio.current_time() - begin_s < 5
            assert host.family.counts().workloads == 0


async def test_a_task_that_is_being_stopped_still_has_sessions_until_it_ends() -> None:
    async with open_host() as host:
        task = await running(host, DEAF)
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await host.plugin.stop(task, grace_s=3)

            nursery.start_soon(stop)
            assert await run_in(host.plugin, task, "exit 6") == (b"", b"", 6)
            async with open_session(host.plugin, task, "sh", "-c", FAMILY) as session:
                await session.wait_for(b"ready")
                assert (await session.finish()).exit_code == 137
        with pytest.raises(RpcError, match="has ended"):
            await run_in(host.plugin, task, "exit 6")


async def test_the_end_of_the_clients_messages_is_not_the_end_of_the_session() -> None:
    async with open_host() as host:
        task = await running(host)
        for tty in (False, True):
            words = ("sh", "-c", "sleep 1; echo late; exit 2")
            async with open_session(host.plugin, task, *words, tty=tty) as session:
                await session.call.done_sending()
                stdout, _, code = (await session.finish()).result
                assert (stdout.strip(), code) == (b"late", 2)


async def test_the_end_of_the_clients_messages_is_the_end_of_a_pipes_input() -> None:
    async with open_host() as host:
        task = await running(host)
        async with open_session(host.plugin, task, "cat") as session:
            await session.send(b"all there is")
            await session.call.done_sending()
            assert (await session.finish()).result == (b"all there is", b"", 0)


async def test_a_background_process_that_holds_the_output_is_waited_for_until_the_client_goes() -> (
    None
):
    async with open_host() as host:
        task = await running(host)
        script = "(sleep 1; echo from behind) & echo from main"
        result = await run_in(host.plugin, task, script)
        assert result == (b"from main\nfrom behind\n", b"", 0)
        async with open_session(host.plugin, task, "sh", "-c", "sleep 1000 & echo main") as held:
            await held.wait_for(b"main")
            await host.becomes(executors=1, workloads=2)
        await only_the_task_is_left(host, task)


async def test_what_root_moves_out_of_the_sessions_cgroup_ends_with_the_task() -> None:
    mounts = cgroup.find_mounts()
    roots = [path for path in (mounts.unified, *mounts.v1.values()) if path is not None]
    escape = " ".join(f"echo 0 > {root}/cgroup.procs;" for root in roots)
    async with open_host() as host:
        task = await running(host)
        script = f"""
            (setsid sh -c '{escape} echo > escaped; exec sleep 1000' > /dev/null 2>&1 &)
            while [ ! -e escaped ]; do sleep 0.05; done
            echo out
        """
        assert await run_in(host.plugin, task, script) == (b"out\n", b"", 0)
        await host.becomes(executors=1, workloads=2)
        await host.plugin.stop(task)
        assert host.family.counts().workloads == 0


@pytest.mark.parametrize("kind", HostKind)
async def test_sessions_leave_nothing_on_every_kind_of_host(kind: HostKind) -> None:
    if (tier := host_of(kind)) is None:
        pytest.skip(f"this host cannot be {kind.value}")
    async with open_host(kind=kind) as host:
        task = await running(host)
        script = f"{HIDDEN} sleep 1000 > /dev/null 2>&1 & id -u; exit 9"
        result = await run_in(host.plugin, task, script)
        assert result == (f"{host.tier.uid}\n".encode(), b"", 9)
        # Without a cgroup, what began a session of its own is only found by the end of the task.
        await host.becomes(executors=1, workloads=1 if tier.has_cgroup else 1 + HIDDEN_SIZE)
        shown = await run_in(host.plugin, task, "tty; exit 1", tty=True)
        assert shown[0].startswith(b"/dev/pts/")
        await host.plugin.stop(task)
        assert host.family.counts().workloads == 0


async def test_fifty_sessions_at_once_are_told_apart_and_leave_nothing() -> None:
    async with open_host() as host:
        task = await running(host)
        fds = len(os.listdir(f"/proc/{task.executor.pid}/fd"))

        async def one(number: int) -> None:
            script = f"read line; echo {number} $line; echo {number} >&2; exit {number}"
            result = await run_in(
                host.plugin, task, script, stdin=b"in\n" * (number % 2) or b"IN\n"
            )
            word = "in" if number % 2 else "IN"
            assert result == (f"{number} {word}\n".encode(), f"{number}\n".encode(), number)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(one, number)
        await only_the_task_is_left(host, task)
        await until(
            lambda: len(os.listdir(f"/proc/{task.executor.pid}/fd")) <= fds,
            "the executor has closed all descriptors",
        )


def exec_request(*command: str, tty: bool = False) -> bytes:
    request = executor_pb2.Request(exec=executor_pb2.ExecRequest(command=command, tty=tty))
    payload = request.SerializeToString()
    return len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        (1 << 20).to_bytes(4, "big") + b"x" * 100,
        (3).to_bytes(4, "big") + b"\xff\xff\xff",
        b"\x00\x00\x00\x02\x0a\x00",
    ],
    ids=["too long", "longer than input may be", "no message", "a second setup"],
)
async def test_garbage_for_the_executor_ends_that_session_and_nothing_else(garbage: bytes) -> None:
    async with open_host() as host:
        task = await running(host)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(task.run.socket_path))
            client.sendall(exec_request("sh", "-c", FAMILY))
            await host.becomes(executors=1, workloads=1 + FAMILY_SIZE)
            client.sendall(garbage)
            await only_the_task_is_left(host, task)
        assert await run_in(host.plugin, task, "exit 8") == (b"", b"", 8)


async def test_a_size_without_a_terminal_is_garbage_for_the_executor() -> None:
    async with open_host() as host:
        task = await running(host)
        async with open_exec(task.run, ExecSpec(command=["sleep", "1000"])) as session:
            await session.resize(rows=1, columns=1)
            await only_the_task_is_left(host, task)


async def test_a_session_needs_no_plugin() -> None:
    async with open_host() as host:
        task = await running(host)
        await host.plugin.kill()
        async with open_exec(task.run, ExecSpec(command=["cat"], tty=False)) as session:
            await session.write_stdin(b"to and fro")
            await session.close_stdin()
            frames = [frame async for frame in session]
        assert b"".join(frame.stdout.data for frame in frames) == b"to and fro"
        assert (frames[-1].exited, frames[-1].result.exit_code) == (True, 0)
        await until(lambda: not session_cgroups(task), "the session has no cgroup")
        await host.launch()
