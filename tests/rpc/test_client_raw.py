"""Our client and a server that answers frame by frame, right or wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from trio_driver.rpc import Channel, RpcError, StatusCode, open_channel

from .cases import case
from .probe import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY
from .probe_pb2 import Note
from .raw import RawPeer, hf, message, stream_pair

GRPC = [(":status", "200"), ("content-type", "application/grpc")]
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW = 3, 4
CANCEL = 8


@asynccontextmanager
async def raw_server(
    settings: dict[int, int] | None = None,
) -> AsyncGenerator[tuple[Channel, RawPeer]]:
    ours, theirs = stream_pair()
    async with theirs, open_channel(ours) as channel:
        peer = RawPeer(theirs)
        await peer.start(settings, is_client=False)
        await peer.stream.receive_some(24)
        yield channel, peer


async def outcome(call: Callable[[], Awaitable[Note]]) -> Note | StatusCode:
    try:
        with trio.fail_after(20):
            return await call()
    except RpcError as error:
        return error.code


async def answer_of(*frames: Callable[[RawPeer], object]) -> Note | StatusCode:
    """What a unary call gives when the server answers with `frames`."""
    async with raw_server() as (channel, peer):

        async def answer() -> None:
            await peer.next_of(hf.DataFrame, 1)
            await peer.send(*[make(peer) for make in frames])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            result = await outcome(lambda: channel.unary_unary(UNARY, Note(), Note))
    return result


def head(peer: RawPeer) -> object:
    return peer.headers(1, GRPC)


def note(peer: RawPeer) -> object:
    return peer.data(1, message(Note(text="a")))


def trailers(*fields: tuple[str, str]) -> Callable[[RawPeer], object]:
    return lambda peer: peer.headers(1, list(fields), end=True)


def only(*fields: tuple[str, str]) -> Callable[[RawPeer], object]:
    return lambda peer: peer.headers(1, list(fields), end=True)


def reset(code: int) -> Callable[[RawPeer], object]:
    return lambda peer: hf.RstStreamFrame(1, code)


OK_TRAILERS = trailers(("grpc-status", "0"))

ANSWERS: dict[str, tuple[list[Callable[[RawPeer], object]], Note | StatusCode]] = {
    "good": ([head, note, OK_TRAILERS], Note(text="a")),
    "status before anything": (
        [only(*GRPC, ("grpc-status", "5"), ("grpc-message", "no"))],
        StatusCode.NOT_FOUND,
    ),
    "no message": ([head, OK_TRAILERS], StatusCode.INTERNAL),
    "two messages": ([head, note, note, OK_TRAILERS], StatusCode.INTERNAL),
    "message and error": ([head, note, trailers(("grpc-status", "9"))], StatusCode(9)),
    "truncated message": (
        [head, lambda peer: peer.data(1, b"\0\0\0\0\5ab"), OK_TRAILERS],
        StatusCode.INTERNAL,
    ),
    "not protobuf": (
        [head, lambda peer: peer.data(1, b"\0\0\0\0\2\xff\xff"), OK_TRAILERS],
        StatusCode.INTERNAL,
    ),
    "message over the limit": (
        [head, lambda peer: peer.data(1, b"\0\x7f\xff\xff\xff")],
        StatusCode.RESOURCE_EXHAUSTED,
    ),
    "unknown encoding": (
        [lambda peer: peer.headers(1, [*GRPC, ("grpc-encoding", "snappy")])],
        StatusCode.UNIMPLEMENTED,
    ),
    "http 503": ([only((":status", "503"))], StatusCode.UNAVAILABLE),
    "http 503 with a body": (
        [lambda peer: peer.headers(1, [(":status", "503"), ("content-type", "text/html")])],
        StatusCode.UNAVAILABLE,
    ),
    "http 404": ([only((":status", "404"))], StatusCode.UNIMPLEMENTED),
    "http 200 that is not grpc": ([only((":status", "200"))], StatusCode.UNKNOWN),
    "end without status": (
        [head, note, lambda peer: peer.data(1, b"", end=True)],
        StatusCode.UNKNOWN,
    ),
    "trailers without status": ([head, note, trailers(("x", "y"))], StatusCode.UNKNOWN),
    "status that is no number": ([only(*GRPC, ("grpc-status", "x"))], StatusCode.UNKNOWN),
    "status of tomorrow": ([only(*GRPC, ("grpc-status", "99"))], StatusCode.UNKNOWN),
    "metadata that is not base64": (
        [lambda peer: peer.headers(1, [*GRPC, ("x-bin", "%")])],
        StatusCode.INTERNAL,
    ),
    "reset": ([reset(2)], StatusCode.INTERNAL),
    "reset that refuses": ([reset(7)], StatusCode.UNAVAILABLE),
    "reset that cancels": ([head, note, reset(8)], StatusCode.CANCELLED),
    "reset that calms": ([reset(11)], StatusCode.RESOURCE_EXHAUSTED),
    "reset for no reason": ([reset(0)], StatusCode.INTERNAL),
    "informational answer first": (
        [lambda peer: peer.headers(1, [(":status", "103")]), head, note, OK_TRAILERS],
        Note(text="a"),
    ),
    "ping in between": (
        [head, lambda peer: hf.PingFrame(0, b"12345678"), note, OK_TRAILERS],
        Note(text="a"),
    ),
    "goaway that leaves the call out": (
        [lambda peer: hf.GoAwayFrame(0, 0, 0)],
        StatusCode.UNAVAILABLE,
    ),
    "goaway that keeps the call": (
        [lambda peer: hf.GoAwayFrame(0, 1, 0), head, note, OK_TRAILERS],
        Note(text="a"),
    ),
    "garbage": ([lambda peer: b"\xff" * 20], StatusCode.UNAVAILABLE),
    "push": (
        [lambda peer: b"\0\0\5\5\4\0\0\0\1\0\0\0\2\x82"],
        StatusCode.UNAVAILABLE,
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
@case("client_http_503")
async def test_every_answer_ends_the_call(name: str) -> None:
    frames, expected = ANSWERS[name]
    assert await answer_of(*frames) == expected


async def test_a_server_that_closes_makes_calls_unavailable() -> None:
    async with raw_server() as (channel, peer):

        async def close() -> None:
            await peer.next_of(hf.DataFrame, 1)
            await peer.stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            call = partial(channel.unary_unary, UNARY, Note(), Note)
            assert await outcome(call) is StatusCode.UNAVAILABLE
            assert await outcome(call) is StatusCode.UNAVAILABLE
            await channel.wait_closed()


@case("client_abandon_server_stream")
async def test_a_call_that_is_left_is_reset() -> None:
    async with raw_server() as (channel, peer):
        async with channel.stream_stream(BIDI, Note) as call:
            await call.send(Note())
            await peer.send(head(peer), note(peer))
            assert (await anext(call)).text == "a"
        assert (await peer.next_of(hf.RstStreamFrame, 1)).error_code == CANCEL
        await peer.send(note(peer), OK_TRAILERS(peer))  # was on its way
        async with channel.unary_stream(SERVER_STREAM, Note(), Note) as notes:
            await peer.send(
                peer.headers(3, GRPC), peer.headers(3, [("grpc-status", "0")], end=True)
            )
            assert [note async for note in notes] == []
            await peer.send(hf.PingFrame(0, b"12345678"))
        await peer.next_of(hf.PingFrame)
        assert not peer.seen_of(hf.RstStreamFrame, 3), "what is over is not reset"
        assert len(peer.seen_of(hf.RstStreamFrame, 1)) == 1, "what came late is not answered"


@case("client_early_answer_to_client_stream")
async def test_an_early_status_ends_what_is_still_being_sent() -> None:
    async with raw_server({INITIAL_WINDOW: 10}) as (channel, peer):

        async def answer() -> None:
            await peer.next_of(hf.DataFrame, 1)
            await peer.send(head(peer), note(peer), OK_TRAILERS(peer))
            assert (await peer.next_of(hf.RstStreamFrame, 1)).error_code == 0

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            request = Note(data=bytes(100))
            result = await outcome(lambda: channel.unary_unary(UNARY, request, Note))
        assert result == Note(text="a")


async def test_a_client_closes_once_a_server_that_goes_away_has_answered() -> None:
    async with raw_server() as (channel, peer), trio.open_nursery() as nursery:

        async def answer() -> None:
            await peer.next_of(hf.DataFrame, 1)
            await peer.send(hf.GoAwayFrame(0, 1, 0), head(peer), note(peer), OK_TRAILERS(peer))
            await peer.wait_closed()

        nursery.start_soon(answer)
        assert await outcome(lambda: channel.unary_unary(UNARY, Note(), Note)) == Note(text="a")
        await channel.wait_closed()


@case("client_deadline")
async def test_a_deadline_is_sent_and_kept() -> None:
    async with raw_server() as (channel, peer):
        call = partial(channel.unary_unary, UNARY, Note(), Note, deadline_s=0.05)
        assert await outcome(call) is StatusCode.DEADLINE_EXCEEDED
        fields = (await peer.next_of(hf.HeadersFrame, 1)).fields
        assert fields["grpc-timeout"][-1] in "num"
        assert (await peer.next_of(hf.RstStreamFrame, 1)).error_code == CANCEL


async def test_a_deadline_also_limits_sending() -> None:
    async with raw_server({INITIAL_WINDOW: 10}) as (channel, _):
        async with channel.stream_stream(BIDI, Note, deadline_s=0.05) as call:
            with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
                await call.send(Note(data=bytes(100)))
        call_ = partial(channel.unary_unary, UNARY, Note(data=bytes(100)), Note, deadline_s=0.05)
        assert await outcome(call_) is StatusCode.DEADLINE_EXCEEDED


async def test_opening_a_call_is_enough_for_the_server_to_know_of_it() -> None:
    async with raw_server() as (channel, peer), channel.stream_stream(BIDI, Note):
        await peer.next_of(hf.HeadersFrame, 1)


async def test_calls_wait_while_the_server_allows_no_more() -> None:
    async with raw_server({MAX_CONCURRENT_STREAMS: 1}) as (channel, peer):
        await trio.testing.wait_all_tasks_blocked()
        results: list[Note | StatusCode] = []

        async def ask() -> None:
            results.append(await outcome(lambda: channel.unary_unary(UNARY, Note(), Note)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
            for stream_id in (1, 3, 5):
                await peer.next_of(hf.DataFrame, stream_id)
                await trio.testing.wait_all_tasks_blocked()
                assert not [f for f in peer.seen if f.stream_id > stream_id]
                await peer.send(
                    peer.headers(stream_id, GRPC),
                    peer.data(stream_id, message(Note(text="a"))),
                    peer.headers(stream_id, [("grpc-status", "0")], end=True),
                )
        assert results == [Note(text="a")] * 3


async def test_a_call_that_waits_for_its_turn_keeps_its_deadline_and_sees_the_end() -> None:
    async with raw_server({MAX_CONCURRENT_STREAMS: 0}) as (channel, peer):
        await trio.testing.wait_all_tasks_blocked()
        late = partial(channel.unary_unary, UNARY, Note(), Note, deadline_s=0.05)
        assert await outcome(late) is StatusCode.DEADLINE_EXCEEDED

        async def close() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await peer.stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            call = partial(channel.unary_unary, UNARY, Note(), Note)
            assert await outcome(call) is StatusCode.UNAVAILABLE


async def test_an_error_of_the_callers_stream_ends_the_call_and_is_raised() -> None:
    async def broken() -> AsyncIterator[Note]:
        yield Note()
        raise ZeroDivisionError

    async with raw_server() as (channel, peer):
        with pytest.raises(ZeroDivisionError):
            await channel.stream_unary(CLIENT_STREAM, broken(), Note)
        assert (await peer.next_of(hf.RstStreamFrame, 1)).error_code == CANCEL


async def test_sending_on_a_call_that_has_ended_tells_how_it_ended() -> None:
    async with raw_server() as (channel, peer):
        async with channel.stream_stream(BIDI, Note) as call:
            await call.send(Note())
            await peer.send(peer.headers(1, [*GRPC, ("grpc-status", "5")], end=True))
            with pytest.raises(RpcError, match="NOT_FOUND"):
                await anext(call)
            with pytest.raises(RpcError, match="NOT_FOUND"):
                await call.send(Note())
            await call.done_sending()
        async with channel.stream_stream(BIDI, Note) as call:
            await call.send(Note())
            await peer.send(peer.headers(3, [*GRPC, ("grpc-status", "0")], end=True))
            assert [note async for note in call] == []
            with pytest.raises(trio.BrokenResourceError):
                await call.send(Note())


class Deaf(trio.abc.Stream):
    """A stream on which nothing can be sent, and nothing comes."""

    async def send_all(self, data: object) -> None:
        raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        raise trio.BrokenResourceError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@case("trap_send_failure_is_told")
async def test_a_client_that_cannot_send_is_not_left_waiting_for_an_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_channel(Deaf()) as channel:
        call = partial(channel.unary_unary, UNARY, Note(), Note)
        assert await outcome(call) is StatusCode.UNAVAILABLE
        assert await outcome(call) is StatusCode.UNAVAILABLE


async def test_leaving_the_channel_ends_calls_elsewhere() -> None:
    results: list[Note | StatusCode] = []
    async with trio.open_nursery() as nursery, raw_server() as (channel, _):

        async def ask() -> None:
            results.append(await outcome(lambda: channel.unary_unary(UNARY, Note(), Note)))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
    assert results == [StatusCode.UNAVAILABLE]


async def test_the_bodys_exception_leaves_the_channel_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with raw_server():
            raise ZeroDivisionError
