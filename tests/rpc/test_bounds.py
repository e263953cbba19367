"""What a peer can make a connection keep, and how long it can keep the others waiting."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import trio

from trio_driver.rpc import Server, StatusCode
from trio_driver.rpc import events as ev
from trio_driver.rpc.client_wire import ClientWire
from trio_driver.rpc.connection import SLICE_BYTES
from trio_driver.rpc.floods import PERIOD_S
from trio_driver.rpc.frames import CANCEL, PREFACE
from trio_driver.rpc.messages import held_bytes
from trio_driver.rpc.server import GREETING_LIMIT_S, ServerConnection
from trio_driver.rpc.server_wire import MAX_CONCURRENT_STREAMS, ServerWire
from trio_driver.rpc.service import methods_of

from .cases import case
from .probe import BIDI, CLIENT_STREAM, Probe, Watched
from .probe_pb2 import Note
from .raw import RawPeer, hf, message, raw_client, request_headers, stream_pair

KIB = 1024
MIB = 1024 * KIB


def greeted(client: ClientWire, server: ServerWire) -> None:
    server.receive(client.take_output(), 0)
    client.receive(server.take_output(), 0)


def pair() -> tuple[ClientWire, ServerWire]:
    client, server = ClientWire(max_message_bytes=MIB), ServerWire(max_message_bytes=MIB)
    greeted(client, server)
    return client, server


def failures(happened: list[ev.Event]) -> list[ev.InputFailed | ev.ConnectionFailed]:
    return [e for e in happened if isinstance(e, ev.InputFailed | ev.ConnectionFailed)]


def test_all_that_is_unread_is_bounded_and_the_rpc_that_is_too_much_fails_alone() -> None:
    client, server = pair()
    limit = server.budget.limit_bytes
    happened: list[ev.Event] = []
    for _ in range(limit // (200 * KIB) + 10):
        stream_id = client.send_request("/a/B", (), None)
        client.send_message(stream_id, bytes(200 * KIB))
        happened += server.receive(client.take_output(), 0)
        client.receive(server.take_output(), 0)
        while client.pump() or client.output:
            happened += server.receive(client.take_output(), 0)
        assert server.budget.held_bytes <= limit
    bad = failures(happened)
    assert bad
    assert all(
        isinstance(e, ev.InputFailed) and e.status.code is StatusCode.RESOURCE_EXHAUSTED
        for e in bad
    )
    read = next(e for e in happened if isinstance(e, ev.MessageReceived))
    server.budget.give_back(held_bytes(read.payload))
    server.reset(read.stream_id, CANCEL)
    stream_id = client.send_request("/a/B", (), None)
    client.send_message(stream_id, b"there is room again")
    assert not failures(server.receive(client.take_output(), 0))


def test_a_budget_is_given_back_when_the_connection_breaks() -> None:
    client, server = pair()
    stream_id = client.send_request("/a/B", [("x", "y" * 1_000)], None)
    client.send_message(stream_id, bytes(100 * KIB))
    server.receive(client.take_output()[:50_000], 0)
    assert server.budget.held_bytes > 30_000
    server.receive(b"\xff" * 30_000, 0)
    assert not server.streams
    assert server.budget.held_bytes == 0


async def half_read(notes: AsyncIterator[Note], _call: object) -> Note:
    await anext(notes)
    return Note()


async def test_whatever_becomes_of_rpcs_their_connection_holds_nothing_for_them() -> None:
    ours, theirs = stream_pair()
    watched = Watched()
    methods = methods_of([Probe(client_stream=half_read, bidi=watched.bidi)])
    connection = ServerConnection(ours, methods, max_message_bytes=MIB)
    three = message(Note(data=bytes(5_000))) * 3
    async with ours, trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        async with theirs:
            peer = RawPeer(theirs)
            await peer.start(is_client=True)
            for stream_id in range(1, 61, 6):
                reset, half = stream_id + 2, stream_id + 4
                await peer.send(
                    peer.request(stream_id),
                    peer.headers(reset, request_headers(BIDI)),
                    peer.data(reset, three[:-1]),
                    peer.headers(half, request_headers(CLIENT_STREAM)),
                    peer.data(half, three[:-1]),
                )
                await peer.status(half)
                await watched.running.wait_value(1)
                await peer.send(hf.RstStreamFrame(reset, CANCEL), peer.data(half, b"late"))
                await watched.wait_cancelled(stream_id // 6 + 1)
            await trio.testing.wait_all_tasks_blocked()
            assert connection.wire.budget.held_bytes == 0
            assert not connection.wire.streams


def request_frames(count: int) -> list[bytes]:
    """Frames that open `count` streams, each as small as it can be."""
    peer = RawPeer(trio.testing.memory_stream_pair()[0])
    return [peer.headers(2 * number + 1, request_headers()).serialize() for number in range(count)]


def open_all(wire: ServerWire, frames: list[bytes]) -> float:
    """Open streams; give the processor time that it took, in seconds."""
    before_s = time.process_time()
    for frame in frames:
        assert not failures(wire.receive(frame, 0))
    return time.process_time() - before_s


def test_opening_a_stream_takes_no_longer_when_ten_thousand_are_open() -> None:
    wire = ServerWire(max_message_bytes=MIB)
    wire.receive(PREFACE, 0)
    frames = request_frames(12_000)
    first_s = open_all(wire, frames[:1_000])
    open_all(wire, frames[1_000:11_000])
    assert open_all(wire, frames[11_000:]) < 5 * first_s


def test_more_streams_than_advertised_break_the_connection() -> None:
    wire = ServerWire(max_message_bytes=MIB)
    wire.receive(PREFACE, 0)
    frames = request_frames(MAX_CONCURRENT_STREAMS + 1)
    open_all(wire, frames[:-1])
    assert failures(wire.receive(frames[-1], 0))
    assert not wire.streams


def test_a_window_update_does_not_look_at_streams_that_wait_for_their_own() -> None:
    client, server = pair()
    count, resets = 2_000, 0
    for _ in range(count):
        client.send_request("/a/B", (), None)
    server.receive(client.take_output(), 0)
    small = b"\0\0\6\4\0\0\0\0\0" + b"\0\4\0\0\0\0"  # INITIAL_WINDOW_SIZE 0
    server.receive(small, 0)
    for stream_id in list(server.streams):
        server.send_response_headers(stream_id, ())
        assert not server.send_message(stream_id, b"x")
        server.take_output()
    server.pump()
    before_s = time.process_time()
    for _ in range(count):
        update = b"\0\0\4\x08\0\0\0\0\0\0\0\0\1"
        server.receive(update, 0)
        resets += 1
    each_s = (time.process_time() - before_s) / resets
    assert each_s < 1e-3, "some tens of microseconds; looking at all would be milliseconds"


@pytest.mark.parametrize("age_s", [0.0, 60.0])
def test_only_resets_soon_after_their_request_are_a_flood(age_s: float) -> None:
    client, server = pair()
    count = 5_000
    for _ in range(count):
        client.send_request("/a/B", (), None)
    assert not failures(server.receive(client.take_output(), 0))
    server.take_output()
    for stream_id in list(client.streams):
        client.reset(stream_id, CANCEL)
    happened = server.receive(client.take_output(), age_s)
    assert bool(failures(happened)) == (age_s == 0)
    assert not server.streams


@case("trap_reset_limit_is_a_rate")
def test_cancelling_often_for_long_is_no_flood() -> None:
    client, server = pair()
    for second in range(20):
        for _ in range(300):
            client.reset(client.send_request("/a/B", (), None), CANCEL)
        assert not failures(server.receive(client.take_output(), float(second)))
        server.take_output()
    assert not server.streams


def test_pings_and_windows_that_answer_our_data_are_no_flood() -> None:
    client, server = pair()
    stream_id = client.send_request("/a/B", (), None)
    server.receive(client.take_output(), 0)
    server.send_response_headers(stream_id, ())
    answer = b"\0\0\x08\x06\0\0\0\0\0" + bytes(8) + b"\0\0\4\x08\0\0\0\0\0\0\0\0\1" * 2
    for _ in range(8_000):
        server.send_message(stream_id, b"")
        assert not failures(server.receive(answer, 0))
        server.take_output()
        update = b"\0\0\4\x08\0" + stream_id.to_bytes(4) + b"\0\0\0\5"
        assert not failures(server.receive(update, 0))


def test_a_rate_is_one_of_its_period() -> None:
    _, server = pair()
    empty = b"\0\0\4\x08\0\0\0\0\0\0\0\0\1" * 15_000
    for period in range(3):
        assert not failures(server.receive(empty, period * PERIOD_S))
    assert failures(server.receive(empty, 2 * PERIOD_S))


async def test_a_client_that_does_not_greet_is_let_go(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for words in (b"", PREFACE[:10], PREFACE):
        ours, theirs = stream_pair()
        async with trio.open_nursery() as nursery, theirs:
            nursery.start_soon(Server([Probe()]).serve_stream, ours)
            await theirs.send_all(words)
            before = trio.current_time()
            with trio.fail_after(2 * GREETING_LIMIT_S):
                while await theirs.receive_some():
                    pass
            assert trio.current_time() - before == pytest.approx(GREETING_LIMIT_S, abs=1)


async def test_a_client_that_has_greeted_may_be_silent_for_hours(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client() as peer:
        await peer.next_of(hf.SettingsFrame)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.sleep(10_000)
        assert await peer.call(1) == 0


class SlowWire(ServerWire):
    """Remembers how many bytes it was given at a time."""

    def __init__(self) -> None:
        super().__init__(max_message_bytes=MIB)
        self.given: list[int] = []

    def receive(self, data: bytes, now: float) -> list[ev.Event]:
        self.given.append(len(data))
        return super().receive(data, now)


async def test_a_burst_is_taken_in_slices_with_a_turn_for_others_between_them() -> None:
    ours, theirs = stream_pair()
    connection = ServerConnection(ours, {}, max_message_bytes=MIB)
    wire = connection.wire = SlowWire()
    turns: list[int] = []
    async with ours, trio.open_nursery() as nursery, theirs:
        await theirs.send_all(PREFACE + hf.SettingsFrame(0).serialize())
        await theirs.send_all((b"\0\x27\x10\x63" + bytes(5) + bytes(10_000)) * 3)
        nursery.start_soon(connection.run)
        while sum(wire.given) < 30_000:
            turns.append(len(wire.given))
            await trio.lowlevel.checkpoint()
    assert max(wire.given) <= SLICE_BYTES
    assert any(0 < turn < len(wire.given) for turn in turns)


def test_an_error_of_the_connection_repeats_little_of_what_the_peer_sent() -> None:
    _, server = pair()
    frame = b"\0\0\6\4\0\0\0\0\0" + b"\0\2\0\0\0\7"
    (failed,) = failures(server.receive(frame, 0))
    assert isinstance(failed, ev.ConnectionFailed)
    assert len(failed.reason) <= 200
    assert len(server.take_output()) < 400
