"""How a plugin starts, lives without its agent, and ends; with real processes."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
import trio
from trio_util import AsyncValue

from trio_driver._proto import health_grpc, health_pb2
from trio_driver.goplugin import (
    Handshake,
    ReattachConfig,
    ReattachError,
    host_environment,
    open_plugin,
    reattach,
)
from trio_driver.goplugin.listener import remove_stale_sockets
from trio_driver.goplugin.server import wait_abandoned
from trio_driver.linux import identify, open_pidfd, set_child_subreaper, wait_pidfd
from trio_driver.rpc import open_unix_channel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from trio.testing import MockClock

    from trio_driver.goplugin import LogRecord

    Execute = Callable[..., Awaitable[str]]

LIMIT_S = 20
"""Far more than anything here takes: only a failed test reaches it."""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def exists(path: str) -> bool:
    return os.path.lexists(path)


def reap(pid: int) -> None:
    """Of a child that has ended."""
    assert os.waitpid(pid, os.WNOHANG)[0] == pid


def test_a_person_who_starts_a_plugin_gets_a_hint(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    result = subprocess.run(
        sample_command, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert "plugin_dir" in result.stderr


def test_a_plugin_whose_handshake_nobody_reads_ends(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    result = subprocess.run(
        sample_command,
        env=environ | host_environment(),
        stdout=write_fd,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    os.close(write_fd)
    assert result.returncode == 1
    assert "nobody reads the handshake" in result.stderr


async def test_only_the_own_user_can_connect_and_the_file_stays_for_life(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path
) -> None:
    async with open_plugin(sample_command, env=environ) as client:
        path = Path(client.reattach_config.addr)
        assert path.parent == socket_dir
        assert mode_of(path) == 0o600
        for _ in range(3):
            async with await trio.open_unix_socket(path):
                pass
        await client.ping()
        assert path.name in os.listdir(socket_dir)
    assert os.listdir(socket_dir) == []


async def test_a_host_may_name_directory_and_group_of_the_socket(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path
) -> None:
    directory = socket_dir / "named"
    directory.mkdir()
    environ |= {
        "PLUGIN_UNIX_SOCKET_DIR": str(directory),
        "PLUGIN_UNIX_SOCKET_GROUP": str(os.getgid()),
    }
    async with open_plugin(sample_command, env=environ) as client:
        path = Path(client.reattach_config.addr)
        assert path.parent == directory
        assert mode_of(path) == 0o660
        assert os.stat(path).st_gid == os.getgid()
    assert os.listdir(directory) == []


async def test_a_temporary_directory_that_is_gone_does_not_stop_the_plugin(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path
) -> None:
    environ["TMPDIR"] = str(socket_dir / "gone")
    async with open_plugin(sample_command, env=environ) as client:
        assert Path(client.reattach_config.addr).parent == Path("/tmp")
        await client.ping()


async def test_strange_wishes_of_the_host_are_logged_and_do_not_stop_the_plugin(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    # A wrapper, because the host itself sets the versions.
    wrapper = ["env", "PLUGIN_PROTOCOL_VERSIONS=2,two", "PLUGIN_CLIENT_CERT=x", *sample_command]
    records: list[LogRecord] = []
    async with open_plugin(wrapper, env=environ, on_log=records.append) as client:
        await client.ping()
    warnings = [record.message for record in records if record.level == "warn"]
    assert len(warnings) == 2
    assert "two" in warnings[0]
    assert "TLS" in warnings[1]


@asynccontextmanager
async def killed_agent(
    command: list[str], environ: dict[str, str]
) -> AsyncGenerator[tuple[ReattachConfig, int]]:
    """Start a plugin through an agent, SIGKILL the agent; gives the plugin and its pidfd."""
    set_child_subreaper()  # so that the plugin becomes our child, as it becomes init's elsewhere
    agent = await trio.lowlevel.open_process(
        [sys.executable, str(Path(__file__).with_name("sample_agent.py")), *command],
        stdout=subprocess.PIPE,
        env=environ,
    )
    assert agent.stdout is not None
    async with agent.stdout as stdout:
        with trio.fail_after(LIMIT_S):
            config = ReattachConfig.decode(bytes(await stdout.receive_some()))
    process = identify(config.pid)
    assert process is not None
    pidfd = open_pidfd(process)
    agent.kill()
    await agent.wait()
    try:
        yield config, pidfd
    finally:
        # Shield: also after a failed test the plugin is ours to reap.
        # Ends by: the idle limit, Shutdown, or LIMIT_S.
        with trio.fail_after(LIMIT_S, shield=True):
            with trio.move_on_after(LIMIT_S / 2):
                await wait_pidfd(pidfd)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)  # ignored by what has ended
            await wait_pidfd(pidfd)
        os.close(pidfd)
        reap(config.pid)


async def test_h16_a_plugin_lives_on_when_its_agent_is_killed_and_its_log_pipe_broken(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    async with killed_agent(sample_command, environ) as (config, _pidfd):
        async with reattach(config) as client:
            for command in ("log", "complain", "print", "log"):
                await execute(client, command, "text")
            await client.ping()
        assert not exists(config.addr)


async def test_a_plugin_without_agent_and_connections_ends_after_the_limit(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    environ["SAMPLE_IDLE_LIMIT_S"] = "0.1"
    async with killed_agent(sample_command, environ) as (config, pidfd):
        with trio.fail_after(LIMIT_S):
            await wait_pidfd(pidfd)
        assert not exists(config.addr)


@pytest.mark.parametrize(
    "script",
    [
        # The shell stays as the parent; only the log pipe tells that the agent is gone.
        '"$@"; exit',
        # The log goes nowhere; only the parent's end tells.
        'exec "$@" 2>/dev/null',
    ],
)
async def test_a_plugin_behind_a_wrapper_notices_that_its_agent_is_gone(
    sample_command: list[str], environ: dict[str, str], script: str
) -> None:
    environ["SAMPLE_IDLE_LIMIT_S"] = "0.1"
    wrapper = ["sh", "-c", script, "sh", *sample_command]
    async with killed_agent(wrapper, environ) as (config, pidfd):
        with trio.fail_after(LIMIT_S):
            await wait_pidfd(pidfd)
        assert not exists(config.addr)


async def test_a_plugin_whose_agent_lives_does_not_end_without_connections(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    environ |= {**host_environment(), "SAMPLE_IDLE_LIMIT_S": "0"}
    process = await trio.lowlevel.open_process(
        sample_command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    )
    assert process.stdout is not None
    async with process.stdout as stdout:
        with trio.fail_after(LIMIT_S):
            line = b"".join([bytes(chunk) async for chunk in stdout])
    for _ in range(20):
        async with open_unix_channel(Handshake.parse(line.decode()).address) as channel:
            await health_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert process.poll() is None
    process.terminate()
    assert await process.wait() == 0


async def test_a_plugin_is_abandoned_once_nobody_was_connected_for_the_limit(
    autojump_clock: MockClock,
) -> None:
    connections = AsyncValue(1)
    gone = trio.Event()
    ended_at: list[float] = []

    async def wait() -> None:
        await wait_abandoned(gone.wait, connections, idle_limit_s=600)
        ended_at.append(trio.current_time())

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        connections.value = 0
        await trio.sleep(10_000)  # nobody connected, but the agent lives
        gone.set()
        await trio.sleep(599)
        connections.value = 1  # another agent
        await trio.sleep(10_000)
        connections.value = 0
        await trio.sleep(599)
        assert ended_at == []
    assert ended_at[0] - start == pytest.approx(10_000 + 599 + 10_000 + 600, abs=1)


def test_sockets_of_killed_plugins_are_removed_and_no_others(socket_dir: Path) -> None:
    def bind(name: str, *, age_s: float) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(socket_dir / name))
        # Ages far from the limit: a machine may be asleep between two lines of a test.
        then = (socket_dir / name).stat().st_mtime - age_s
        os.utime(socket_dir / name, (then, then))
        return server

    with bind("trio-driver-dead.sock", age_s=0), bind(".trio-driver-unborn.sock", age_s=0):
        pass
    with bind("other-dead.sock", age_s=9_999), bind(".trio-driver-never.sock", age_s=100):
        pass
    (socket_dir / "trio-driver-file.sock").touch()
    os.utime(socket_dir / "trio-driver-file.sock", (0, 0))
    with bind("trio-driver-alive.sock", age_s=9_999) as alive:
        alive.listen()
        assert remove_stale_sockets(PurePosixPath(socket_dir)) == 2
    left = {path.name for path in socket_dir.iterdir()}
    assert left == {
        ".trio-driver-unborn.sock",
        "other-dead.sock",
        "trio-driver-file.sock",
        "trio-driver-alive.sock",
    }
    for name in left:
        (socket_dir / name).unlink()


async def test_a_plugin_removes_the_socket_of_one_that_was_killed(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    async with open_plugin(sample_command, env=environ) as killed:
        os.kill(killed.process.pid, signal.SIGKILL)
        await killed.wait_exited()
        left = killed.reattach_config.addr
        async with open_plugin(sample_command, env=environ) as client:
            await client.ping()
        assert not exists(left)


async def test_reattaching_to_a_plugin_that_has_ended_is_refused(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    async with open_plugin(sample_command, env=environ) as client:
        config = client.reattach_config
    with pytest.raises(ReattachError):
        async with reattach(config):
            pass
