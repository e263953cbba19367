"""The other end of a socket is gone: seen whatever was sent before, and nothing else is taken for it."""

from __future__ import annotations

import socket
import sys

import trio
import trio.testing

from trio_driver.linux import fd_count, wait_hung_up


async def is_hung_up(end: socket.socket) -> bool:
    with trio.move_on_after(0.05):
        await wait_hung_up(end.fileno())
        return True
    return False


async def test_a_close_is_seen_behind_what_was_not_read() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.setblocking(False)
        try:
            while True:
                theirs.send(bytes(10_000))
        except BlockingIOError:
            pass
        assert not await is_hung_up(ours)
        theirs.close()
        assert await is_hung_up(ours)


async def test_a_shutdown_of_sending_is_no_hang_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.shutdown(socket.SHUT_WR)
        assert not await is_hung_up(ours)
        theirs.shutdown(socket.SHUT_RD)
        assert await is_hung_up(ours)


async def test_the_end_of_a_process_is_seen_at_once_by_one_who_waits() -> None:
    ours, theirs = socket.socketpair()
    script = "import socket; socket.socket(fileno=0).recv(1)"
    process = await trio.lowlevel.open_process([sys.executable, "-c", script], stdin=theirs)
    theirs.close()
    with ours:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_hung_up, ours.fileno())
            await trio.testing.wait_all_tasks_blocked()
            ours.send(b"x")
    assert await process.wait() == 0


async def test_one_who_is_cancelled_leaves_no_descriptor() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fds = fd_count()
        assert not await is_hung_up(ours)
        assert fd_count() == fds
