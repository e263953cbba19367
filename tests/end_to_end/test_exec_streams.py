"""What goes through a session: all of it, in order, told apart, and never more than somebody takes."""

import hashlib
import os
import random
from pathlib import Path

import pytest
import trio

from tests.support.host import Host, open_host
from tests.support.scripts import SLEEP
from tests.support.sessions import Session, open_session, run_in
from tests.support.task import Task
from trio_driver.linux import children_of

pytestmark = pytest.mark.cgroup

MIB = 1 << 20


async def running(host: Host) -> Task:
    task = host.sh(SLEEP)
    await host.start(task)
    await task.out.wait_for("ready")
    return task


async def feed(session: Session, data: bytes, size: int) -> None:
    for begin in range(0, len(data), size):
        await session.send(data[begin : begin + size])
    await session.send(close=True)


@pytest.mark.parametrize("size", [1000, 300_000], ids=["small frames", "large frames"])
async def test_megabytes_go_through_both_ways_unharmed_and_told_apart(size: int) -> None:
    data = random.Random(size).randbytes(4 * MIB)
    async with open_host() as host:
        task = await running(host)
        async with (
            open_session(host.plugin, task, "tee", "/dev/stderr") as session,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(feed, session, data, size)
            await session.finish()
        assert session.exit_code == 0
        assert hashlib.sha256(session.stdout).digest() == hashlib.sha256(data).digest()
        assert session.stderr == session.stdout
        assert sorted(session.closed) == ["stderr", "stdout"]


async def test_data_and_close_may_come_in_one_frame() -> None:
    async with open_host() as host:
        task = await running(host)
        async with open_session(host.plugin, task, "cat") as session:
            await session.send(b"first and last", close=True)
            await session.send(b"too late")
            assert (await session.finish()).result == (b"first and last", b"", 0)


async def test_heartbeats_are_ignored() -> None:
    async with open_host() as host:
        task = await running(host)
        async with open_session(host.plugin, task, "cat") as session:
            for _ in range(3):
                await session.heartbeat()
            await session.send(b"data", close=True)
            await session.heartbeat()
            assert (await session.finish()).result == (b"data", b"", 0)


async def test_a_command_that_closes_its_input_loses_only_that() -> None:
    async with open_host() as host:
        task = await running(host)
        words = ("sh", "-c", "exec < /dev/null; sleep 0.5; echo alive; exit 3")
        async with (
            open_session(host.plugin, task, *words) as session,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(feed, session, bytes(2 * MIB), 100_000)
            assert (await session.finish()).result == (b"alive\n", b"", 3)
            nursery.cancel_scope.cancel()


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def written_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().split()
    return int(lines[lines.index("wchar:") + 1])


async def stands_still(pid: int) -> int:
    """Wait until a process writes no more; how much it has written."""
    before = -1
    while (now := written_bytes(pid)) != before:
        before = now
        await trio.sleep(0.3)
    return before


async def test_a_client_that_does_not_read_makes_the_command_wait() -> None:
    async with open_host() as host:
        task = await running(host)
        processes = (task.executor.pid, host.plugin.process.pid)
        async with open_session(
            host.plugin, task, "head", "-c", str(32 * MIB), "/dev/zero"
        ) as session:
            await session.receive()
            memory = [resident_bytes(pid) for pid in processes]
            (head,) = set(children_of(task.executor.pid)) - {task.workload.pid}
            assert await stands_still(head) < 4 * MIB
            for pid, before in zip(processes, memory, strict=True):
                assert resident_bytes(pid) - before < 4 * MIB
            # It is all there for one who reads on.
            await session.finish()
            assert (len(session.stdout), session.exit_code) == (32 * MIB, 0)


async def test_a_command_that_does_not_read_makes_the_client_wait() -> None:
    async with open_host() as host:
        task = await running(host)
        processes = (task.executor.pid, host.plugin.process.pid)
        async with open_session(host.plugin, task, "sleep", "1000") as session:
            await host.becomes(executors=1, workloads=2)
            memory = [resident_bytes(pid) for pid in processes]
            with trio.move_on_after(2) as sending:
                await feed(session, bytes(32 * MIB), 100_000)
            assert sending.cancelled_caught
            for pid, before in zip(processes, memory, strict=True):
                assert resident_bytes(pid) - before < 4 * MIB
        await host.becomes(executors=1, workloads=1)


async def test_a_terminal_is_resized_and_tells_its_foreground() -> None:
    async with open_host() as host:
        task = await running(host)
        script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
        async with open_session(host.plugin, task, "sh", "-c", script, tty=True) as session:
            await session.wait_for(b"ready")
            for rows, columns in ((24, 80), (50, 132), (70_000, -1)):
                await session.resize(rows=rows, columns=columns)
                rows, columns = min(rows, 65_535), max(columns, 0)
                await session.wait_for(f"{rows} {columns}".encode())


async def test_a_terminal_passes_on_an_interrupt() -> None:
    async with open_host() as host:
        task = await running(host)
        script = "echo ready; exec sleep 1000"
        async with open_session(host.plugin, task, "sh", "-c", script, tty=True) as session:
            await session.wait_for(b"ready")
            await session.send(b"\x03")
            assert (await session.finish()).exit_code == 128 + 2


@pytest.mark.parametrize("typed", [b"", b"a line\n", b"no line"])
async def test_the_end_of_a_terminals_input_is_typed(typed: bytes) -> None:
    async with open_host() as host:
        task = await running(host)
        script = "echo ready; cat > /dev/null; stty size; exit 5"
        async with open_session(host.plugin, task, "sh", "-c", script, tty=True) as session:
            await session.wait_for(b"ready")
            await session.resize(rows=7, columns=8)
            await session.send(typed, close=True)
            assert (await session.finish()).exit_code == 5
            assert b"7 8\r\n" in session.stdout, "the terminal is still there"


async def test_a_terminal_is_the_controlling_one_and_the_users_own() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP, user="nobody")
        await host.start(task)
        await task.out.wait_for("ready")
        script = 'echo "to it" > /dev/tty; stat -c %U-%a "$(tty)"; ps -o tty=,sid= -p $$; echo $$'
        shown, _, code = await run_in(host.plugin, task, script, tty=True)
        said, owner, listed, pid = shown.decode().split("\r\n")[:4]
        assert (code, said, owner) == (0, "to it", "nobody-620")
        terminal, session = listed.split()
        assert terminal.startswith("pts/")
        assert session == pid
