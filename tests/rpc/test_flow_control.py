"""Nothing is buffered without bound, either way, and nobody waits for somebody else's window."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from trio_driver.rpc import ClientCall, Server, open_channel

from .cases import case
from .probe import BIDI, CLIENT_STREAM, SERVER_STREAM, Probe
from .probe_pb2 import Note
from .raw import RawPeer, hf, message, raw_client, request_headers, stream_pair
from .streams import Tap

INITIAL_WINDOW = 4
MAX_FRAME = 5
KIB = 1024
MIB = 1024 * KIB


class Source:
    """An endless stream of notes that counts how many have been taken."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    async def notes(self, _note: Note, _call: object) -> AsyncIterator[Note]:
        while True:
            self.taken += 1
            yield Note(data=bytes(self.size))


def window_update(stream_id: int, increment: int) -> object:
    frame = hf.WindowUpdateFrame(stream_id)
    frame.window_increment = increment
    return frame


async def data_bytes(peer: RawPeer, stream_id: int, amount: int) -> None:
    """Wait for `amount` bytes of DATA on the stream."""
    while amount > 0:
        amount -= len((await peer.next_of(hf.DataFrame, stream_id)).data)
    assert amount == 0


@case("backpressure_server_stream")
async def test_a_server_stream_stops_at_the_clients_window() -> None:
    source = Source(KIB)
    async with raw_client(Probe(server_stream=source.notes)) as peer:
        await peer.send(peer.request(1, path=SERVER_STREAM))
        await data_bytes(peer, 1, 65_535)
        await trio.testing.wait_all_tasks_blocked()
        assert source.taken == 64
        await peer.send(window_update(1, 10 * KIB), window_update(0, 10 * KIB))
        await data_bytes(peer, 1, 10 * KIB)
        await trio.testing.wait_all_tasks_blocked()
        assert source.taken in (73, 74)


async def test_a_blocked_stream_blocks_no_other() -> None:
    source = Source(KIB)
    settings = {INITIAL_WINDOW: 100}
    async with raw_client(Probe(server_stream=source.notes), settings=settings) as peer:
        await peer.send(peer.request(1, path=SERVER_STREAM))
        await data_bytes(peer, 1, 100)
        assert await peer.call(3) == 0


@case("backpressure_slow_socket")
async def test_a_client_that_does_not_read_its_socket_stops_a_server_stream() -> None:
    source = Source(64 * KIB)
    settings = {INITIAL_WINDOW: 2**31 - 1}
    async with raw_client(Probe(server_stream=source.notes), settings=settings) as peer:
        await peer.send(window_update(0, 2**31 - 1 - 65_535), peer.request(1, path=SERVER_STREAM))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert source.taken * 64 * KIB < MIB
        taken = source.taken
        await data_bytes(peer, 1, (64 * KIB + 5 + 4) * taken)
        assert source.taken > taken


async def test_streams_share_the_connection_fairly() -> None:
    source = Source(100 * KIB)
    async with raw_client(Probe(server_stream=source.notes)) as peer:
        for stream_id in (1, 3, 5):
            await peer.send(peer.request(stream_id, path=SERVER_STREAM))
        arrived = {1: 0, 3: 0, 5: 0}
        for _ in range(60):
            frame = await peer.next(lambda f: isinstance(f, hf.DataFrame))
            arrived[frame.stream_id] += len(frame.data)
            increment = len(frame.data)
            await peer.send(window_update(0, increment), window_update(frame.stream_id, increment))
        assert max(arrived.values()) < 3 * min(arrived.values())


@case("backpressure_client_stream")
async def test_a_handler_that_does_not_read_grants_no_more_than_its_window() -> None:
    read_on = trio.Event()

    async def read_late(notes: AsyncIterator[Note], _call: object) -> Note:
        await anext(notes)
        await read_on.wait()
        return Note(count=len([note async for note in notes]))

    async with raw_client(Probe(client_stream=read_late)) as peer:
        settings = await peer.next(
            lambda f: isinstance(f, hf.SettingsFrame) and "ACK" not in f.flags
        )
        window = settings.settings[INITIAL_WINDOW]
        note = message(Note(data=bytes(8_000)))
        await peer.send(peer.headers(1, request_headers(CLIENT_STREAM)), peer.data(1, note))
        sent = len(note)
        while sent + len(note) <= window:
            await peer.send(peer.data(1, note))
            sent += len(note)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await peer.send(hf.PingFrame(0, b"a ping.."))
        await peer.next_of(hf.PingFrame)
        assert not peer.seen_of(hf.WindowUpdateFrame, 1)
        read_on.set()
        assert (await peer.next_of(hf.WindowUpdateFrame, 1)).window_increment > window // 2
        await peer.send(peer.data(1, b"", end=True))
        assert await peer.status(1) == 0


@case("trap_credit_of_partial_messages")
async def test_a_partial_message_is_not_credited_unless_somebody_waits_for_it() -> None:
    async def never_read(notes: AsyncIterator[Note], _call: object) -> Note:
        await trio.sleep_forever()
        raise AssertionError

    async with raw_client(Probe(client_stream=never_read)) as peer:
        start = b"\0" + (30 * MIB).to_bytes(4)
        await peer.send(peer.headers(1, request_headers(CLIENT_STREAM)), peer.data(1, start))
        await peer.send(*[peer.data(1, bytes(16_000))] * 16)
        await peer.send(hf.PingFrame(0, b"a ping.."))
        frame = await peer.next(
            lambda f: (
                isinstance(f, hf.PingFrame)
                or (isinstance(f, hf.WindowUpdateFrame) and f.stream_id == 1)
            )
        )
        assert isinstance(frame, hf.PingFrame)


async def test_a_sender_waits_for_a_reader_over_a_whole_connection() -> None:
    ours, theirs = stream_pair()
    read_on = trio.Event()
    sent = 0

    async def read_late(notes: AsyncIterator[Note], _call: object) -> AsyncIterator[Note]:
        await read_on.wait()
        async for note in notes:
            yield Note(count=len(note.data))

    async def send(call: ClientCall[Note, Note]) -> None:
        nonlocal sent
        for _ in range(100):
            await call.send(Note(data=bytes(64 * KIB)))
            sent += 1
        await call.done_sending()

    async with trio.open_nursery() as nursery, open_channel(theirs) as channel:
        nursery.start_soon(Server([Probe(bidi=read_late)]).serve_stream, ours)
        async with channel.stream_stream(BIDI, Note) as call, trio.open_nursery() as senders:
            senders.start_soon(send, call)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert sent * 64 * KIB < MIB
            read_on.set()
            assert [note.count async for note in call] == [64 * KIB] * 100
    assert sent == 100


async def test_windows_that_shrink_while_data_is_sent_are_kept() -> None:
    source = Source(KIB)
    async with raw_client(Probe(server_stream=source.notes)) as peer:
        await peer.send(peer.request(1, path=SERVER_STREAM))
        await data_bytes(peer, 1, 65_535)
        smaller = hf.SettingsFrame(0)
        smaller.settings = {INITIAL_WINDOW: 1_000, MAX_FRAME: 16_384}
        await peer.send(smaller, window_update(0, MIB), window_update(1, 65_535))
        await data_bytes(peer, 1, 1_000)
        assert await peer.call(3) == 0
        sent = sum(len(f.data) for f in peer.seen_of(hf.DataFrame, 1))
        assert sent == 65_535 + 1_000


async def test_a_client_that_does_not_read_answers_is_not_read_either() -> None:
    ours, theirs = stream_pair()
    tap = Tap(ours)
    received = 0

    def count(data: bytes) -> None:
        nonlocal received
        received += len(data)

    tap.on_received = count
    async with trio.open_nursery() as nursery, theirs:
        nursery.start_soon(Server([Probe()]).serve_stream, tap)
        peer = RawPeer(theirs)
        await peer.start(is_client=True)
        await peer.send(peer.request(1, path="/nobody"))
        await peer.trailers(1)
        tap.before_send = trio.Event
        one = peer.request(3, path="/nobody")
        everything = b"".join(
            one.replace((3).to_bytes(4), stream_id.to_bytes(4)) for stream_id in range(3, 40_003, 2)
        )
        nursery.start_soon(peer.send, everything)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert received < 0.8 * len(everything)
        nursery.cancel_scope.cancel()


@case("trap_starvation")
async def test_messages_that_never_wait_leave_other_tasks_their_turn() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    during: list[int] = []

    async def count_turns(_note: Note, _call: object) -> AsyncIterator[Note]:
        before = turns
        for _ in range(160):
            yield Note()
        during.append(turns - before)

    ours, theirs = stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server([Probe(server_stream=count_turns)]).serve_stream, ours)
        async with open_channel(theirs) as channel:
            nursery.start_soon(take_turns)
            async with channel.unary_stream(SERVER_STREAM, Note(), Note) as notes:
                assert len([note async for note in notes]) == 160
            nursery.cancel_scope.cancel()
    assert during[0] >= 9
