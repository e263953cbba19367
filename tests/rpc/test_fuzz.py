"""Whatever comes over a real connection ends nothing but that connection, and is never a bug.

A good conversation is spoilt: bytes changed, frames left out, repeated, exchanged, cut short, and
frames of any kind put in between.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver.rpc import Channel, RpcError, Server, open_channel

from .probe import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY, Probe
from .probe_pb2 import Note
from .raw import PREFACE, WAIT_LIMIT_S, RawPeer, hf, message, request_headers, stream_pair

GRPC = [(":status", "200"), ("content-type", "application/grpc")]
EXAMPLES = 150


def nobody() -> RawPeer:
    return RawPeer(trio.testing.memory_stream_pair()[0])


def client_frames() -> list[bytes]:
    """What a client sends that makes one call of each kind."""
    peer = nobody()
    frames: list[Any] = [hf.SettingsFrame(0), hf.PingFrame(0, b"12345678")]
    window = hf.WindowUpdateFrame(0)
    window.window_increment = 1_000_000
    frames.append(window)
    for stream_id, path in ((1, UNARY), (3, SERVER_STREAM), (5, CLIENT_STREAM), (7, BIDI)):
        fields = request_headers(path, grpc_timeout="5S", x_bin="AAEC")
        frames.append(peer.headers(stream_id, fields))
        frames.append(peer.data(stream_id, message(Note(text="abc", count=3))))
        frames.append(peer.data(stream_id, b"", end=True))
    frames += [peer.headers(9, request_headers(BIDI)), hf.RstStreamFrame(9, 8)]
    frames.append(hf.GoAwayFrame(0, 0, 0))
    return [frame.serialize() for frame in frames]


def server_frames() -> list[bytes]:
    """What a server answers to a unary call and a server stream."""
    peer = nobody()
    settings_ack = hf.SettingsFrame(0)
    settings_ack.flags.add("ACK")
    frames: list[Any] = [hf.SettingsFrame(0), settings_ack]
    for stream_id in (1, 3):
        frames.append(peer.headers(stream_id, [*GRPC, ("x-bin", "AAEC")]))
        frames.append(peer.data(stream_id, message(Note(text="abc"))))
        frames.append(peer.headers(stream_id, [("grpc-status", "0")], end=True))
    frames += [hf.PingFrame(0, b"12345678"), hf.GoAwayFrame(0, 3, 0)]
    return [frame.serialize() for frame in frames]


def encode(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4) + payload


ANY_FRAME = st.builds(
    encode,
    kind=st.one_of(st.integers(0, 9), st.integers(0, 255)),
    flags=st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF]),
    stream_id=st.sampled_from([0, 1, 2, 3, 5, 7, 9, 11, 2**31 - 1]),
    payload=st.one_of(
        st.binary(max_size=30),
        st.sampled_from([b"", bytes(4), bytes(5), bytes(8), b"\x7f\xff\xff\xff"]),
    ),
)


@st.composite
def spoilt(draw: st.DrawFn, good: list[bytes]) -> bytes:
    """A conversation with one to four things wrong."""
    frames = list(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(frames) - 1))
        match draw(st.sampled_from(["flip", "leave out", "repeat", "exchange", "insert", "cut"])):
            case "flip":
                frame = bytearray(frames[at])
                frame[draw(st.integers(0, len(frame) - 1))] ^= draw(st.integers(1, 255))
                frames[at] = bytes(frame)
            case "leave out" if len(frames) > 1:
                del frames[at]
            case "repeat":
                frames.insert(at, frames[at])
            case "exchange":
                frames[at], frames[-1] = frames[-1], frames[at]
            case "cut":
                frames[at] = frames[at][: draw(st.integers(1, len(frames[at])))]
            case _:
                frames.insert(at, draw(ANY_FRAME))
    return b"".join(frames)


@contextmanager
def no_bug_is_logged() -> Generator[None]:
    bugs: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: bugs.append(record.getMessage())
    logger = logging.getLogger("trio_driver.rpc")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert bugs == []


async def drain(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


async def server_takes(data: bytes) -> None:
    ours, theirs = stream_pair()
    good_ours, good_theirs = stream_pair()
    server = Server([Probe()])
    with trio.fail_after(WAIT_LIMIT_S):
        async with theirs, good_theirs, trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_stream, ours)
            nursery.start_soon(server.serve_stream, good_ours)
            nursery.start_soon(drain, theirs)
            with suppress(trio.BrokenResourceError):
                await theirs.send_all(data)
            good = RawPeer(good_theirs)
            await good.start(is_client=True)
            assert await good.call(1) == 0
            with suppress(trio.BrokenResourceError):
                await theirs.send_eof()
            await server.connections.wait_value(1)
            assert await good.call(3) == 0
            await good_theirs.aclose()


@given(spoilt(client_frames()))
@settings(deadline=None, max_examples=EXAMPLES)
def test_no_client_ends_more_than_its_connection(data: bytes) -> None:
    with no_bug_is_logged():
        trio.run(server_takes, PREFACE + data)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda b: PREFACE[:20] + b)))
@settings(deadline=None, max_examples=EXAMPLES // 3)
def test_no_bytes_end_more_than_their_connection(data: bytes) -> None:
    with no_bug_is_logged():
        trio.run(server_takes, data)


async def call(channel: Channel, outcomes: list[object]) -> None:
    try:
        outcomes.append(await channel.unary_unary(UNARY, Note(), Note))
        async with channel.unary_stream(SERVER_STREAM, Note(), Note) as notes:
            outcomes.append([note async for note in notes])
    except RpcError as error:
        outcomes.append(error.code)


async def client_takes(data: bytes) -> None:
    ours, theirs = stream_pair()
    outcomes: list[object] = []
    with trio.fail_after(WAIT_LIMIT_S):
        async with theirs, open_channel(ours) as channel, trio.open_nursery() as nursery:
            nursery.start_soon(call, channel, outcomes)
            await theirs.receive_some()
            nursery.start_soon(drain, theirs)
            with suppress(trio.BrokenResourceError):
                await theirs.send_all(data)
            with suppress(trio.BrokenResourceError):
                await theirs.send_eof()
    assert outcomes


@given(st.one_of(spoilt(server_frames()), st.binary(max_size=300)))
@settings(deadline=None, max_examples=EXAMPLES)
def test_whatever_a_server_answers_a_call_ends_with_a_result_or_an_rpc_error(data: bytes) -> None:
    with no_bug_is_logged():
        trio.run(partial(client_takes, data))
