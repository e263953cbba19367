"""`trio-driver exec`: a command in a running task, with our streams or our terminal."""

import os
import select
import signal
import subprocess
import termios
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from tests.support.host import REPOSITORY, Host, open_host
from tests.support.scripts import SLEEP
from tests.support.task import Task
from trio_driver.linux import set_terminal_size

from .on_host import PROGRAM, trio_driver
from .program import LIMIT_S

pytestmark = pytest.mark.cgroup


@asynccontextmanager
async def running() -> AsyncGenerator[tuple[Host, Task]]:
    """A host with one task that does nothing for long."""
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await task.out.wait_for("ready")
        yield host, task


async def test_output_and_exit_code_are_the_commands_own() -> None:
    async with running() as (host, _):
        result = await trio_driver(
            host, "exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"
        )
        assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")


async def test_no_plugin_and_no_dashes_are_needed() -> None:
    async with running() as (host, task):
        await host.plugin.kill()
        result = await trio_driver(host, "exec", task.id, "echo", "-n", "-t", "--json")
        assert (result.returncode, result.stdout) == (0, "-t --json")
        await host.launch()


async def test_a_signal_counts_128_and_its_number() -> None:
    async with running() as (host, _):
        result = await trio_driver(host, "exec", "web", "--", "sh", "-c", "kill -9 $$")
        assert result.returncode == 128 + signal.SIGKILL


async def test_stdin_is_passed_on_only_when_it_is_wanted() -> None:
    async with running() as (host, _):
        data = os.urandom(1 << 20).hex().encode()
        result = await trio_driver(host, "exec", "-i", "web", "--", "cat", stdin=data)
        assert result.stdout.encode() == data
        assert (await trio_driver(host, "exec", "web", "--", "cat", stdin=data)).stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("web", "--", "/nope"), 125, '"/nope"'),
        (("-t", "web", "--", "sh"), 125, "needs a terminal on stdin"),
        (("nobody", "--", "sh"), 2, 'no task "nobody"'),
        (("web", "--"), 2, "COMMAND"),
    ],
)
async def test_what_cannot_be_started_is_told(words: tuple[str, ...], code: int, text: str) -> None:
    async with running() as (host, _):
        result = await trio_driver(host, "exec", *words)
        assert (result.returncode, result.stdout) == (code, "")
        assert text in result.stderr


async def test_a_task_that_has_ended_is_told_as_that() -> None:
    async with open_host() as host:
        task = host.sh("exit 3")
        await host.start(task)
        await host.plugin.wait(task)
        result = await trio_driver(host, "exec", "web", "--", "true")
        assert (result.returncode, "exited with code 3" in result.stderr) == (125, True)


@contextmanager
def started(host: Host, *words: str, **streams: int) -> "Generator[subprocess.Popen[bytes]]":
    """The program, until the block is left at the latest."""
    with subprocess.Popen(
        [*PROGRAM, "exec", "--state-dir", str(host.state_dir), *words],
        env={**host.environ, "PYTHONPATH": str(REPOSITORY)},
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **streams},  # pyright: ignore[reportArgumentType, reportCallIssue]
    ) as process:
        host.family.plugin_pids.add(process.pid)
        try:
            yield process
        finally:
            process.kill()


async def wait(process: "subprocess.Popen[bytes]") -> int:
    return await trio.to_thread.run_sync(lambda: process.wait(LIMIT_S))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
async def test_what_runs_ends_with_us(signum: signal.Signals) -> None:
    async with running() as (host, _):
        with started(host, "web", "--", "sh", "-c", "setsid sleep 1000 & echo up; wait") as process:
            assert process.stdout is not None
            assert await trio.to_thread.run_sync(process.stdout.readline) == b"up\n"
            process.send_signal(signum)
            code = await wait(process)
            assert code == (-signum if signum == signal.SIGKILL else 128 + signum)
        host.family.plugin_pids.discard(process.pid)
        await host.becomes(executors=1, workloads=1)


async def test_nobody_who_reads_ends_the_command() -> None:
    async with running() as (host, _):
        with started(host, "web", "--", "yes") as process:
            assert process.stdout is not None
            await trio.to_thread.run_sync(process.stdout.readline)
            process.stdout.close()
            assert await wait(process) == 128 + signal.SIGPIPE
        host.family.plugin_pids.discard(process.pid)
        await host.becomes(executors=1, workloads=1)


class OurTerminal:
    """A terminal as a person has it."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        set_terminal_size(self.slave, rows=rows, columns=columns)

    def mode(self) -> list[object]:
        return termios.tcgetattr(self.slave)

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def read_until(self, text: bytes) -> None:
        while text not in self.seen:
            assert select.select([self.master], [], [], LIMIT_S)[0], self.seen
            self.seen += os.read(self.master, 65_536)


@contextmanager
def our_terminal() -> Generator[OurTerminal]:
    terminal = OurTerminal()
    try:
        yield terminal
    finally:
        os.close(terminal.master)
        os.close(terminal.slave)


async def test_a_terminal_is_passed_through_with_its_size_and_comes_back_as_it_was() -> None:
    async with running() as (host, _):
        with our_terminal() as terminal:
            terminal.resize(33, 111)
            before = terminal.mode()
            streams = {"stdin": terminal.slave, "stdout": terminal.slave}
            with started(host, "-it", "web", "--", "/bin/sh", **streams) as process:

                def use() -> None:
                    # The size arrives as the shell does.
                    terminal.type(
                        b"until [ \"$(stty size)\" = '33 111' ]; do :; done; echo o''ne\n"
                    )
                    terminal.read_until(b"one\r\n")
                    assert terminal.mode() != before
                    terminal.resize(44, 122)
                    process.send_signal(signal.SIGWINCH)
                    terminal.type(
                        b"until [ \"$(stty size)\" = '44 122' ]; do :; done; echo t''wo\n"
                    )
                    terminal.read_until(b"two\r\n")
                    terminal.type(
                        b"sh -c 'trap exit INT; echo thr''ee; while :; do sleep 0.1; done'\n"
                    )
                    terminal.read_until(b"three\r\n")
                    terminal.type(b"\x03")  # Ctrl-C is the command's
                    terminal.type(b"exit 5\n")

                await trio.to_thread.run_sync(use)
                assert await wait(process) == 5
            assert terminal.mode() == before
        host.family.plugin_pids.discard(process.pid)


async def test_a_terminal_comes_back_as_it_was_when_we_are_asked_to_end() -> None:
    async with running() as (host, _):
        with our_terminal() as terminal:
            before = terminal.mode()
            streams = {"stdin": terminal.slave, "stdout": terminal.slave}
            with started(
                host, "-it", "web", "--", "sh", "-c", "echo up; sleep 1000", **streams
            ) as process:
                await trio.to_thread.run_sync(terminal.read_until, b"up")
                assert terminal.mode() != before
                process.send_signal(signal.SIGTERM)
                assert await wait(process) == 128 + signal.SIGTERM
            assert terminal.mode() == before
        host.family.plugin_pids.discard(process.pid)
