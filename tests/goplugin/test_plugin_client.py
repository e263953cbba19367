"""What a host does with plugins, good ones and bad ones; with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from trio_driver.goplugin import Handshake, HandshakeError, Level, LogRecord, open_plugin
from trio_driver.goplugin.child import EXIT_LIMIT_S
from trio_driver.goplugin.services import Controller, plugin_services
from trio_driver.linux import children_of, fd_count, is_alive, listen_unix
from trio_driver.rpc import RpcError, Server, StatusCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from trio_driver._proto import controller_pb2
    from trio_driver._proto.interfaces import Call

    Execute = Callable[..., Awaitable[str]]

LIMIT_S = 20
"""Far more than anything here takes: only a failed test reaches it."""


def shell(script: str, *arguments: str) -> list[str]:
    return ["sh", "-c", script, "sh", *arguments]


async def fail_to_open(command: Sequence[str], *, start_limit_s: float = LIMIT_S) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        async with open_plugin(command, start_limit_s=start_limit_s):
            pass
    # At once, not when the test ends: the error is raised after the process is gone.
    assert children_of(os.getpid()) == []
    return caught.value


async def test_a_program_that_does_not_exist_is_no_plugin() -> None:
    error = await fail_to_open(["/nope/plugin"])
    assert "No such file or directory" in error.message
    assert "/nope/plugin" in error.diagnostics


async def test_a_file_that_cannot_be_executed_is_no_plugin(tmp_path: Path) -> None:
    path = tmp_path / "plugin"
    path.write_text("text")
    error = await fail_to_open([str(path)])
    assert "Permission denied" in error.message
    assert "-rw-" in error.diagnostics
    assert "neither ELF nor a script" in error.diagnostics


async def test_a_program_that_ends_without_a_handshake_shows_status_and_last_words() -> None:
    error = await fail_to_open(shell("echo no config >&2; exit 3"))
    assert "without a handshake" in error.message
    assert "status 3" in error.diagnostics
    assert "stderr: no config" in error.diagnostics
    assert "ELF for" in error.diagnostics


async def test_a_first_line_that_is_no_handshake_is_fatal_and_shown() -> None:
    error = await fail_to_open(shell("echo hello, world; exec sleep 1000"))
    assert "'hello, world'" in error.message
    assert "SIGKILL" in error.diagnostics


async def test_a_first_line_without_end_is_no_handshake() -> None:
    error = await fail_to_open(["cat", "/dev/zero"])
    assert "no handshake" in error.message


async def test_a_silent_program_is_given_up_after_the_start_limit() -> None:
    error = await fail_to_open(shell("echo thinking >&2; exec sleep 1000"), start_limit_s=0.2)
    assert "within 0.2 s" in error.message
    assert "thinking" in error.diagnostics


async def test_a_program_that_closes_stdout_and_stays_is_killed() -> None:
    error = await fail_to_open(shell("exec sleep 1000 >&-"))
    assert "SIGKILL" in error.diagnostics


async def test_an_address_where_nobody_listens_is_an_error(socket_dir: Path) -> None:
    handshake = Handshake(app_version=2, network="unix", address=str(socket_dir / "none"))
    command = shell('printf %s "$1"; read x < "$2"', handshake.encode(), "/nope")
    with pytest.raises(FileNotFoundError):
        async with open_plugin(command):
            pass


async def test_everything_on_stderr_is_read_as_an_agent_reads_it(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    records: list[LogRecord] = []
    command = shell('echo "[WARN] careful" >&2; exec "$@"', *sample_command)
    async with open_plugin(command, env=environ, on_log=records.append) as client:
        await client.ping()
    assert records[0] == LogRecord(level=Level.WARN, message="[WARN] careful")
    assert records[-1].message == "the last words"


async def test_a_plugin_that_ends_by_itself_is_noticed(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    async with open_plugin(sample_command, env=environ) as client:
        os.kill(client.process.pid, signal.SIGTERM)
        with trio.fail_after(LIMIT_S):
            assert await client.wait_exited() == 0
        with pytest.raises(RpcError) as caught:
            await client.ping()
        assert caught.value.code is StatusCode.UNAVAILABLE


async def test_a_plugin_that_does_not_end_is_killed(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    # The shell is what is waited for; it goes on after the plugin has answered and ended.
    command = shell('"$@"; exec sleep 1000', *sample_command)
    async with open_plugin(command, env=environ) as client:
        process = client.process
        start = trio.current_time()
    assert 2 < trio.current_time() - start < 4
    assert not is_alive(process)


async def test_an_exception_ends_the_plugin_and_leaves_the_block_as_it_is(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_plugin(sample_command, env=environ):
            raise ZeroDivisionError
    assert children_of(os.getpid()) == []


async def test_a_cancelled_block_ends_the_plugin_politely(
    sample_command: list[str], environ: dict[str, str]
) -> None:
    records: list[LogRecord] = []
    with trio.CancelScope() as scope:
        async with open_plugin(sample_command, env=environ, on_log=records.append):
            scope.cancel()
            await trio.sleep_forever()
    assert records[-1].message == "the last words"
    assert children_of(os.getpid()) == []


async def test_an_exception_of_the_log_callback_ends_the_block(
    sample_command: list[str], environ: dict[str, str], execute: Execute
) -> None:
    def refuse(_record: LogRecord) -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with open_plugin(sample_command, env=environ, on_log=refuse) as client:
            await execute(client, "log", "text")
            await trio.sleep_forever()


class FakePlugin(Controller):
    """Services in this process behind a shell that gives the handshake: starts in a millisecond.

    The shell ends when the plugin is asked to, by a line in a fifo that this process holds open.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        fifo = directory / "fifo"
        os.mkfifo(fifo)
        self.fifo_fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.address = directory / "s"
        handshake = Handshake(app_version=2, network="unix", address=str(self.address))
        script = 'printf "%s" "$1"; echo started >&2; read x < "$2"'
        self.command = shell(script, handshake.encode(), str(fifo))

    async def Shutdown(self, input_message: controller_pb2.Empty, request: Call) -> None:
        await super().Shutdown(input_message, request)
        os.write(self.fifo_fd, b"\n")

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listener = await listen_unix(str(self.address))
        task_status.started()
        try:
            await Server(plugin_services(self)).serve_listener(listener)
        finally:
            os.close(self.fifo_fd)
            os.unlink(self.address)


class CancelAtStep(trio.abc.Instrument):
    """Cancels `scope` before the `step`-th step of the task that entered it."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.left = step
        self.task = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task and self.left > 0:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def test_opening_cancelled_anywhere_leaves_nothing(socket_dir: Path) -> None:
    async with trio.open_nursery() as nursery:
        plugin = FakePlugin(socket_dir)
        await nursery.start(plugin.serve)
        async with open_plugin(plugin.command) as client:
            await client.ping()
        fds = fd_count()
        steps = 0
        start = trio.current_time()
        while await open_cancelled_at(steps + 1, plugin):
            steps += 1
            # A process that has given no handshake is not waited for.
            assert trio.current_time() - start < EXIT_LIMIT_S, f"cancelled at step {steps}"
            start = trio.current_time()
            assert children_of(os.getpid()) == [], f"cancelled at step {steps}"
            await trio.testing.wait_all_tasks_blocked()
            assert fd_count() == fds, f"cancelled at step {steps}"
            with contextlib.suppress(BlockingIOError):  # a plugin that was killed read no line
                os.read(plugin.fifo_fd, 100)
        assert steps > 10
        nursery.cancel_scope.cancel()


async def open_cancelled_at(step: int, plugin: FakePlugin) -> bool:
    """Open and leave a plugin, cancelled before the given step; False when it has fewer."""
    scope = trio.CancelScope()
    instrument = CancelAtStep(scope, step)
    with scope:
        trio.lowlevel.add_instrument(instrument)
        try:
            async with open_plugin(plugin.command) as client:
                await client.ping()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return instrument.left == 0


async def test_a_plugin_that_never_answers_shutdown_is_killed_all_the_same(
    socket_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Mute(FakePlugin):
        async def Shutdown(self, input_message: controller_pb2.Empty, request: Call) -> None:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        plugin = Mute(socket_dir)
        await nursery.start(plugin.serve)
        async with open_plugin(plugin.command) as client:
            await client.ping()
        assert children_of(os.getpid()) == []
        assert "an agent would hang" in caplog.text
        nursery.cancel_scope.cancel()


def test_importing_it_imports_no_asyncio(environ: dict[str, str]) -> None:
    """The handshake must be there within a third of a second."""
    script = "import sys, trio_driver.goplugin; print('asyncio' in sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", script], env=environ, text=True)
    assert output == "False\n"
