"""What is passed on to a session, and when a client counts as gone. Time is virtual."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest
import trio
import trio.testing

from trio_driver._proto import driver_pb2
from trio_driver.executor import ExecSession
from trio_driver.rpc import RpcError
from trio_driver.sdk.exec import SILENCE_LIMIT_S, feed

Request = driver_pb2.ExecTaskStreamingRequest
HEARTBEAT = Request()
INPUT = Request(stdin=driver_pb2.ExecTaskStreamingIOOperation(data=b"x"))
HOUR_S = 3600.0


async def requests(*steps: Request | float) -> AsyncGenerator[Request]:
    """Messages, with pauses in seconds."""
    for step in steps:
        if isinstance(step, Request):
            yield step
        else:
            await trio.sleep(step)


async def fed(steps: AsyncIterator[Request], *, reads: bool = True, tty: bool = False) -> bytes:
    """Feed a session whose executor reads, or does not; what it has read at the end."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    received = bytearray()

    async def read() -> None:
        async for data in theirs:
            received.extend(data)

    async with trio.open_nursery() as nursery:
        if reads:
            nursery.start_soon(read)
        with trio.move_on_after(HOUR_S):
            await feed(ExecSession(ours), steps, tty)
        await ours.aclose()
    return bytes(received)


async def test_a_client_whose_heartbeats_stop_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    steps = requests(INPUT, 1000.0, HEARTBEAT, 59.0, HEARTBEAT, 59.0, INPUT, HOUR_S)
    async with aclosing(steps):
        with pytest.RaisesGroup(pytest.RaisesExc(RpcError, match="no heartbeat for 60 s")):
            await fed(steps)
    assert trio.current_time() == pytest.approx(1118 + SILENCE_LIMIT_S)


async def test_a_client_without_heartbeats_owes_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    steps = requests(INPUT, 2 * HOUR_S)
    async with aclosing(steps):
        assert (await fed(steps)).count(b"x") == 1
    assert trio.current_time() == pytest.approx(HOUR_S)


async def test_a_command_that_does_not_read_is_no_silent_client(
    autojump_clock: trio.testing.MockClock,
) -> None:
    steps = requests(HEARTBEAT, INPUT, 2 * HOUR_S)
    async with aclosing(steps):
        await fed(steps, reads=False)
    assert trio.current_time() == pytest.approx(HOUR_S)


@pytest.mark.parametrize("tty", [False, True])
async def test_a_client_that_says_that_nothing_follows_is_not_silent(
    autojump_clock: trio.testing.MockClock, tty: bool
) -> None:
    steps = requests(HEARTBEAT, 10.0)
    async with aclosing(steps):
        received = await fed(steps, tty=tty)
    close = Request(stdin=driver_pb2.ExecTaskStreamingIOOperation(close=True)).SerializeToString()
    assert received == (b"" if tty else len(close).to_bytes(4, "big") + close)


async def test_long_input_is_passed_on_in_pieces_that_an_executor_takes() -> None:
    data = bytes(range(256)) * 1000
    long = Request(stdin=driver_pb2.ExecTaskStreamingIOOperation(data=data, close=True))
    steps = requests(long)
    async with aclosing(steps):
        received = await fed(steps, tty=True)
    pieces: list[Request] = []
    while received:
        length = int.from_bytes(received[:4], "big")
        assert length <= 1 << 16
        pieces.append(Request.FromString(received[4 : 4 + length]))
        received = received[4 + length :]
    assert b"".join(piece.stdin.data for piece in pieces) == data
    assert [piece.stdin.close for piece in pieces] == [False] * (len(pieces) - 1) + [True]
