"""Messages behind their length: whole, or an error that ends their connection and nothing else."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from trio_driver._proto import executor_pb2
from trio_driver.executor.frames import (
    MAX_FRAME_BYTES,
    FrameError,
    receive_message,
    send_message,
)

STOP = executor_pb2.Request(stop=executor_pb2.StopRequest(signum=15, grace_s=2.5))


def read(data: bytes) -> executor_pb2.Request | None:
    """What comes out of a connection that carries `data` and then ends."""
    return trio.run(_read, data)


async def _read(data: bytes) -> executor_pb2.Request | None:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    await ours.send_all(data)
    await ours.aclose()
    return await receive_message(theirs, executor_pb2.Request)


async def test_messages_arrive_whole_and_in_order() -> None:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    messages = [STOP, executor_pb2.Request(), STOP]
    for message in messages:
        await send_message(ours, message)
    await ours.aclose()
    for message in messages:
        assert await receive_message(theirs, executor_pb2.Request) == message
    assert await receive_message(theirs, executor_pb2.Request) is None


async def test_a_message_longer_than_a_socket_buffer_arrives_whole() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    message = executor_pb2.Request()
    message.start.plugin_config = bytes(1 << 20)
    received: list[executor_pb2.Request | None] = []

    async def receive() -> None:
        received.append(await receive_message(theirs, executor_pb2.Request))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await send_message(ours, message)
    assert received == [message]


def test_the_end_of_a_connection_is_no_error() -> None:
    assert read(b"") is None


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0", b"\0\0\0\x05ab", b"\0\0\0\x05"])
def test_a_frame_that_is_cut_off_is_an_error(data: bytes) -> None:
    with pytest.raises(FrameError, match="within a frame"):
        read(data)


def test_a_frame_longer_than_its_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError, match=f"at most {MAX_FRAME_BYTES}"):
        read((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def test_a_frame_that_is_no_message_is_an_error_that_names_what_was_wanted() -> None:
    with pytest.raises(FrameError, match="Request"):
        read(b"\0\0\0\x02\xff\xff")


@given(st.binary(max_size=60))
def test_nothing_but_a_message_or_a_frame_error_comes_of_any_bytes(data: bytes) -> None:
    try:
        message = read(data)
    except FrameError:
        return
    assert message is None or isinstance(message, executor_pb2.Request)


@given(st.integers(0, 12))
def test_a_message_cut_anywhere_is_an_error_or_nothing(cut: int) -> None:
    payload = STOP.SerializeToString()
    data = (len(payload).to_bytes(4, "big") + payload)[:cut]
    if cut == 0:
        assert read(data) is None
        return
    with pytest.raises(FrameError):
        read(data)
