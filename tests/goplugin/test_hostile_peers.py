"""A plugin between peers that are broken, slow, many, or gone: its agent notices nothing."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
import trio

from trio_driver.goplugin import PluginClient, host_environment, open_plugin
from trio_driver.goplugin.listener import SOCKET_PREFIX, share_with_group
from trio_driver.linux import identify, listen_unix, open_pidfd, set_child_subreaper, wait_pidfd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Execute = Callable[..., Awaitable[str]]

LIMIT_S = 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GREETING = PREFACE + b"\0\0\0\4\0\0\0\0\0"


def start(command: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Run what starts or is a plugin, with an agent's pipes; the caller reads them, or does not."""
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environ | host_environment())


def reap(pid: int) -> None:
    """Of a child that has ended."""
    assert os.waitpid(pid, os.WNOHANG)[0] == pid


def start_below_agent(
    command: list[str], environ: dict[str, str], pid_file: Path
) -> subprocess.Popen[bytes]:
    """A shell that plays the agent; the plugin below it writes its pid first."""
    child = 'echo $$ > "$0" && exec "$@"'
    shell = ["sh", "-c", '"$@" & exec sleep 1000', "sh"]
    return start([*shell, "sh", "-c", child, str(pid_file), *command], environ)


def vanish(agent: subprocess.Popen[bytes]) -> None:
    """SIGKILL an agent; its pipes, which are ours here, end with it."""
    assert agent.stdout is not None
    assert agent.stderr is not None
    agent.stdout.close()
    agent.stderr.close()
    agent.kill()
    agent.wait()


async def open_connections(
    client: PluginClient, stack: contextlib.AsyncExitStack, count: int, words: bytes
) -> None:
    for _ in range(count):
        stream = await stack.enter_async_context(
            await trio.open_unix_socket(client.reattach_config.addr)
        )
        if words:
            await stream.send_all(words)


async def greeted(client: PluginClient) -> None:
    """Wait until the plugin has dealt with all who came before, and greets another."""
    with trio.fail_after(LIMIT_S):
        async with await trio.open_unix_socket(client.reattach_config.addr) as stream:
            await stream.send_all(GREETING)
            assert await stream.receive_some()


@pytest.mark.parametrize(
    "words",
    [b"", PREFACE[:5], GREETING, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1_000, os.urandom(1_000)],
    ids=["silence", "half a preface", "a greeting", "http", "ones", "random"],
)
async def test_five_hundred_connections_of_strangers_do_not_disturb_the_agents(
    sample_command: list[str], environ: dict[str, str], execute: Execute, words: bytes
) -> None:
    async with open_plugin(sample_command, env=environ) as client:
        async with contextlib.AsyncExitStack() as stack:
            await open_connections(client, stack, 500, words)
            with trio.fail_after(LIMIT_S):
                await client.ping()
                await execute(client, "log", "text")
        await greeted(client)


async def test_a_plugin_out_of_descriptors_serves_its_agent_and_recovers(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    command = ["sh", "-c", 'ulimit -n 40 && exec "$@"', "sh", *sample_command]
    async with open_plugin(command, env=environ) as client:
        async with contextlib.AsyncExitStack() as stack:
            await open_connections(client, stack, 100, b"")
            with trio.fail_after(LIMIT_S):
                await execute(client, "log", "text")
        await greeted(client)


async def test_a_log_pipe_that_nobody_reads_costs_lines_and_not_answers(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    with start(sample_command, environ) as process:
        assert process.stdout is not None
        line = await trio.to_thread.run_sync(process.stdout.readline)
        path = line.split(b"|")[3].decode()
        with trio.fail_after(LIMIT_S):
            for _ in range(300):  # each is a line in the log
                async with await trio.open_unix_socket(path) as stream:
                    await stream.send_all(b"\xff" * 100)
                    while await stream.receive_some():
                        pass
        process.terminate()
        with trio.fail_after(LIMIT_S):
            await trio.to_thread.run_sync(process.wait)
        assert process.returncode == 0


@pytest.mark.parametrize("waits", ["nothing", "a moment", "the handshake", "a connection"])
async def test_an_agent_that_vanishes_during_a_launch_leaves_no_plugin(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path, waits: str
) -> None:
    set_child_subreaper()
    environ["SAMPLE_IDLE_LIMIT_S"] = "0.1"
    pid_file = socket_dir / "pid"
    agent = start_below_agent(sample_command, environ, pid_file)
    assert agent.stdout is not None
    with trio.fail_after(LIMIT_S):
        while not (pid_file.exists() and pid_file.read_text().strip()):
            await trio.sleep(0.01)
    process = identify(int(pid_file.read_text()))
    assert process is not None
    pidfd = open_pidfd(process)
    if waits == "a moment":
        await trio.sleep(0.05)
    elif waits != "nothing":
        line = await trio.to_thread.run_sync(agent.stdout.readline)
        if waits == "a connection":
            async with await trio.open_unix_socket(line.split(b"|")[3].decode()) as stream:
                await stream.send_all(PREFACE[:10])
    vanish(agent)
    with trio.fail_after(LIMIT_S):
        await wait_pidfd(pidfd)
    os.close(pidfd)
    reap(process.pid)
    assert [path for path in socket_dir.iterdir() if path.is_socket()] == []


async def test_a_temporary_directory_that_is_a_link_holds_the_socket_where_it_points(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path
) -> None:
    real, link = socket_dir / "real", socket_dir / "link"
    real.mkdir()
    link.symlink_to(real)
    environ["TMPDIR"] = str(link)
    async with open_plugin(sample_command, env=environ) as client:
        (name,) = os.listdir(real)
        assert Path(client.reattach_config.addr).name == name
        await client.ping()
    assert os.listdir(real) == []


async def test_a_directory_that_leaves_just_enough_room_for_the_name_is_used(
    sample_command: list[str], environ: dict[str, str], socket_dir: Path
) -> None:
    name_bytes = len(f"/{SOCKET_PREFIX}{'0' * 16}.sock")
    used: list[Path] = []
    for room in (107, 106):
        directory = socket_dir / ("x" * (room - name_bytes - len(str(socket_dir)) - 1))
        directory.mkdir()
        environ["TMPDIR"] = str(directory)
        async with open_plugin(sample_command, env=environ) as client:
            used.append(Path(client.reattach_config.addr).parent)
            await client.ping()
    assert used == [Path("/tmp"), directory], "its name has a dot more while it is being born"


async def test_a_file_in_the_place_of_the_socket_is_not_given_to_a_group(socket_dir: Path) -> None:
    path, victim = socket_dir / "socket", socket_dir / "victim"
    victim.write_text("root's own")
    victim.chmod(0o600)
    async with await listen_unix(path):
        path.unlink()
        path.symlink_to(victim)
        with pytest.raises(OSError):
            share_with_group(PurePosixPath(path), str(os.getgid()))
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
