"""The life of one connection of our server, seen by a client that works frame by frame."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import trio

from trio_driver.rpc import RpcError, Server, StatusCode

from .cases import case
from .probe import BIDI, CLIENT_STREAM, SERVER_STREAM, Probe, Watched
from .probe_pb2 import Note
from .raw import RawPeer, hf, message, raw_client, request_headers, stream_pair
from .streams import Tap

MAX_CONCURRENT_STREAMS = 3
OK, CANCELLED, DEADLINE_EXCEEDED = 0, 1, 4
CANCEL, REFUSED_STREAM, ENHANCE_YOUR_CALM = 8, 7, 11


async def test_many_concurrent_streams_and_small_frames_are_advertised() -> None:
    async with raw_client() as peer:
        settings = (await peer.next_of(hf.SettingsFrame)).settings
        assert settings[MAX_CONCURRENT_STREAMS] >= 10_000
        assert settings[hf.SettingsFrame.MAX_FRAME_SIZE] == 16_384
        assert settings[hf.SettingsFrame.MAX_HEADER_LIST_SIZE] >= 16_384


@case("ping_ack")
async def test_a_ping_is_answered_with_its_data() -> None:
    async with raw_client() as peer:
        await peer.send(hf.PingFrame(0, b"12345678"))
        pong = await peer.next_of(hf.PingFrame)
        assert ("ACK" in pong.flags, pong.opaque_data) == (True, b"12345678")


@case("trap_ping_per_burst")
async def test_a_ping_for_every_message_is_no_flood() -> None:
    # grpc-go estimates bandwidth so; a limit on the pings alone ends its long streams.
    path, messages = BIDI, 3_000
    async with raw_client() as peer:
        await peer.send(peer.headers(1, request_headers(path)))
        for _ in range(messages // 100):
            pair = peer.data(1, message()).serialize() + hf.PingFrame(0, b"12345678").serialize()
            await peer.send(pair * 100)
            for _ in range(100):
                await peer.next_of(hf.DataFrame, 1)
        await peer.send(peer.data(1, b"", end=True))
        assert await peer.status(1) == OK


@case("deadline_header_only")
async def test_the_server_itself_enforces_a_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    watched = Watched()
    async with raw_client(watched.probe()) as peer:
        await peer.send(peer.request(1, grpc_timeout="2S"))
        assert await peer.status(1) == DEADLINE_EXCEEDED
        await watched.wait_cancelled(1)
        await peer.send(
            peer.headers(3, request_headers(CLIENT_STREAM, grpc_timeout="2S")),
            peer.data(3, message()),
        )
        assert await peer.status(3) == DEADLINE_EXCEEDED
        await watched.wait_cancelled(2)


async def test_a_deadline_in_the_middle_of_a_message_resets_the_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def big(note: Note, request: object) -> Note:
        return Note(data=bytes(100_000))

    async with raw_client(Probe(unary=big)) as peer:
        await peer.send(peer.request(1, grpc_timeout="2S"))
        assert (await peer.next_of(hf.RstStreamFrame, 1)).error_code == CANCEL


@case("trailers_only_error")
async def test_a_status_before_any_message_is_one_frame() -> None:
    async def fail(note: Note, request: object) -> Note:
        raise RpcError(StatusCode.NOT_FOUND, "nö")

    async with raw_client(Probe(unary=fail)) as peer:
        await peer.send(peer.request(1))
        fields = await peer.trailers(1)
        assert (fields[":status"], fields["content-type"]) == ("200", "application/grpc")
        assert (fields["grpc-status"], fields["grpc-message"]) == ("5", "n%C3%B6")
        assert len(peer.seen_of(hf.HeadersFrame, 1)) == 1


@case("trap_reset_before_first_step")
async def test_handlers_that_are_cancelled_before_their_first_step_cost_no_window() -> None:
    # A request, 16 kB of data and a reset in one read, until more than the window of 16 MiB has gone.
    note = message(Note(data=bytes(16_000)))
    watched = Watched()
    async with raw_client(Probe(client_stream=watched.client_stream)) as peer:
        for first in range(1, 4_201, 140):
            burst = [
                peer.headers(stream_id, request_headers(CLIENT_STREAM)).serialize()
                + peer.data(stream_id, note).serialize()
                + hf.RstStreamFrame(stream_id, CANCEL).serialize()
                for stream_id in range(first, first + 138, 2)
            ]
            await peer.send(b"".join(burst))
            assert await peer.call(first + 138) == OK
        with trio.fail_after(20):
            await watched.running.wait_value(0)
        granted = sum(f.window_increment for f in peer.seen_of(hf.WindowUpdateFrame))
        assert granted > 24 * 1024 * 1024


@case("trap_torn_frame")
async def test_a_handler_that_is_cancelled_while_it_is_written_tears_no_frame() -> None:
    async def big(note: Note, request: object) -> AsyncIterator[Note]:
        while True:
            yield Note(data=bytes(50_000))

    ours, theirs = stream_pair()
    tap = Tap(ours)
    async with trio.open_nursery() as nursery, theirs:
        nursery.start_soon(Server([Probe(server_stream=big)]).serve_stream, tap)
        peer = RawPeer(theirs)
        await peer.start(is_client=True)
        window = hf.WindowUpdateFrame(0)
        window.window_increment = 2**30
        await peer.send(window)
        for stream_id in range(1, 41, 4):
            gate = trio.Event()
            tap.before_send = lambda gate=gate: gate
            await peer.send(peer.request(stream_id, path=SERVER_STREAM))
            await trio.testing.wait_all_tasks_blocked(0.01)
            await peer.send(hf.RstStreamFrame(stream_id, CANCEL))
            await trio.testing.wait_all_tasks_blocked(0.01)
            gate.set()
            assert await peer.call(stream_id + 2) == OK


@case("goaway_from_client_inflight")
async def test_goaway_from_the_client_lets_its_calls_end() -> None:
    go_on = trio.Event()

    async def wait(note: Note, request: object) -> Note:
        await go_on.wait()
        return note

    async with raw_client(Probe(unary=wait)) as peer:
        await peer.send(peer.request(1), hf.GoAwayFrame(0, 0, 0))
        await peer.send(hf.PingFrame(0, b"12345678"))
        await peer.next_of(hf.PingFrame)
        go_on.set()
        assert await peer.status(1) == OK


@case("leak_2000_resets_midstream")
async def test_two_thousand_resets_in_the_middle_leave_nothing_behind() -> None:
    watched = Watched()
    async with raw_client(watched.probe()) as peer:
        assert trio.lowlevel.current_statistics().tasks_living < 20
        for first in range(1, 4_000, 200):
            for stream_id in range(first, first + 200, 2):
                await peer.send(
                    peer.headers(stream_id, request_headers(BIDI)),
                    peer.data(stream_id, message()),
                )
            await peer.send(*[hf.RstStreamFrame(i, CANCEL) for i in range(first, first + 200, 2)])
            await watched.wait_cancelled((first + 199) // 2)
        await peer.send(peer.request(4_001, path=SERVER_STREAM, grpc_timeout="1m"))
        assert await peer.status(4_001) == DEADLINE_EXCEEDED
        assert trio.lowlevel.current_statistics().tasks_living < 20


@case("rapid_reset_5000")
async def test_rapid_resets_end_the_connection_and_leave_no_handler() -> None:
    watched = Watched()
    async with raw_client(watched.probe()) as peer:
        pairs = [
            peer.request(stream_id) + hf.RstStreamFrame(stream_id, CANCEL).serialize()
            for stream_id in range(1, 10_001, 2)
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.wait_closed)
            with suppress(trio.BrokenResourceError):
                await peer.send(b"".join(pairs))
        goaway = peer.frames[-1]
        assert (type(goaway), goaway.error_code) == (hf.GoAwayFrame, ENHANCE_YOUR_CALM)
    assert watched.running.value == 0


async def test_a_call_that_is_refused_while_draining_was_not_started() -> None:
    started = 0
    go_on = trio.Event()

    async def wait(note: Note, request: object) -> Note:
        nonlocal started
        started += 1
        await go_on.wait()
        return note

    ours, theirs = stream_pair()
    server = Server([Probe(unary=wait)])
    async with trio.open_nursery() as nursery, theirs:
        nursery.start_soon(server.serve_stream, ours)
        peer = RawPeer(theirs)
        await peer.start(is_client=True)
        await peer.send(peer.request(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain()
        goaway = await peer.next_of(hf.GoAwayFrame)
        assert (goaway.last_stream_id, goaway.error_code) == (1, 0)
        await peer.send(peer.request(3))
        assert (await peer.next_of(hf.RstStreamFrame, 3)).error_code == REFUSED_STREAM
        go_on.set()
        assert await peer.status(1) == OK
        await peer.wait_closed()
    assert started == 1


@case("trap_cancelled_read_loses_a_message")
async def test_a_cancelled_read_loses_no_message() -> None:
    got: list[int] = []

    async def read_impatiently(notes: AsyncIterator[Note], request: object) -> Note:
        while True:
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(notes)
            with trio.move_on_after(0.001):
                try:
                    got.append((await anext(notes)).count)
                except StopAsyncIteration:
                    return Note()

    async with raw_client(Probe(client_stream=read_impatiently)) as peer:
        await peer.send(peer.headers(1, request_headers(CLIENT_STREAM)))
        for number in range(200):
            await peer.send(peer.data(1, message(Note(count=number))))
            await trio.lowlevel.checkpoint()
        await peer.send(peer.data(1, b"", end=True))
        assert await peer.status(1) == OK
    assert got == list(range(200))
