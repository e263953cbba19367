"""The wire without I/O: two ends that talk to each other, and ends that are told nonsense."""

from __future__ import annotations

import subprocess
import sys

import hypothesis.stateful as hs
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver.rpc import Status, StatusCode
from trio_driver.rpc import events as ev
from trio_driver.rpc.client_wire import ClientWire
from trio_driver.rpc.frames import PREFACE
from trio_driver.rpc.server_wire import ServerWire
from trio_driver.rpc.wire import Wire

from .cases import case

MIB = 1024 * 1024
OK = Status(StatusCode.OK)


def pair() -> tuple[ClientWire, ServerWire]:
    client, server = ClientWire(max_message_bytes=MIB), ServerWire(max_message_bytes=MIB)
    exchange(client, server)
    return client, server


def exchange(client: Wire, server: Wire) -> tuple[list[ev.Event], list[ev.Event]]:
    """Carry all output over until there is none; what happened at the client, at the server."""
    at_client: list[ev.Event] = []
    at_server: list[ev.Event] = []
    while client.output or server.output:
        at_server += server.receive(client.take_output(), 0)
        at_server += [ev.SendingUnblocked(i) for i in client.pump()][:0]
        at_client += client.receive(server.take_output(), 0)
        server.pump()
    return at_client, at_server


def test_a_unary_call_is_request_message_end_and_response_message_status() -> None:
    client, server = pair()
    stream_id = client.send_request("/a/B", [("x", "1")], 2.0)
    assert client.send_message(stream_id, b"question", end=True)
    _, happened = exchange(client, server)
    metadata = (("user-agent", "trio-driver"), ("x", "1"))
    assert happened == [
        ev.RequestReceived(1, "/a/B", metadata, 2.0),
        ev.MessageReceived(1, b"question"),
        ev.InputEnded(1),
    ]
    server.send_response_headers(1, ())
    assert server.send_message(1, b"answer")
    server.send_status(1, OK, [("y", "2")])
    happened, _ = exchange(client, server)
    assert happened == [
        ev.ResponseReceived(1, ()),
        ev.MessageReceived(1, b"answer"),
        ev.StatusReceived(1, OK, (("y", "2"),)),
    ]
    assert not client.streams
    assert not server.streams


@case("trap_goaway_drops_output")
def test_goaway_of_the_peer_drops_no_output() -> None:
    client, server = pair()
    stream_id = client.send_request("/a/B", (), None)
    exchange(client, server)
    server.send_response_headers(stream_id, ())
    server.send_message(stream_id, b"answer")
    client.go_away()
    assert server.receive(client.take_output(), 0) == [ev.GoAwayReceived(0, 0)]
    server.send_status(stream_id, OK)
    happened, _ = exchange(client, server)
    assert ev.StatusReceived(1, OK, ()) in happened


def test_a_message_larger_than_all_windows_goes_through_to_a_reader() -> None:
    client, server = pair()
    stream_id = client.send_request("/a/B", (), None)
    exchange(client, server)
    server.want(stream_id)
    message = bytes(MIB)
    client.send_message(stream_id, message, end=True)
    _, happened = exchange(client, server)
    assert happened == [ev.MessageReceived(1, message), ev.InputEnded(1)]


def test_the_connections_window_is_given_back() -> None:
    client, server = pair()
    for stream_id in range(1, 41, 2):  # 20 MiB; the window has 16
        assert client.send_request("/a/B", (), None) == stream_id
        exchange(client, server)
        server.want(stream_id)
        client.send_message(stream_id, bytes(MIB), end=True)
        _, happened = exchange(client, server)
        assert happened == [ev.MessageReceived(stream_id, bytes(MIB)), ev.InputEnded(stream_id)]


def test_operations_on_a_stream_that_is_over_do_nothing() -> None:
    client, server = pair()
    stream_id = client.send_request("/a/B", (), None)
    exchange(client, server)
    client.reset(stream_id, 8)
    client.reset(stream_id, 8)
    client.end_sending(stream_id)
    client.want(stream_id)
    _, happened = exchange(client, server)
    assert happened == [ev.StreamReset(1, 8)]
    server.send_response_headers(stream_id, ())
    server.send_status(stream_id, OK)
    assert not server.output


@given(st.binary(max_size=200), st.booleans())
@settings(deadline=None, max_examples=300)
def test_no_bytes_make_a_wire_raise(data: bytes, is_server: bool) -> None:
    if is_server:
        wire: Wire = ServerWire(max_message_bytes=MIB)
        wire.receive(PREFACE, 0)
    else:
        wire = ClientWire(max_message_bytes=MIB)
    wire.receive(data, 0)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames of known kinds with likely ids and any payload: they get further than bytes do."""
    parts: list[bytes] = []
    for _ in range(draw(st.integers(1, 6))):
        kind, flags = draw(st.integers(0, 9)), draw(st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]))
        payload = draw(
            st.one_of(
                st.binary(max_size=20),
                st.just(b"\x83\x86\x84\x41\x0flocalhost\x82"),
                st.just(bytes(8)),
                st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4)),
            )
        )
        stream_id = draw(st.sampled_from([0, 1, 1, 2, 3, 5]))
        head = len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4)
        parts.append(head + payload)
    return b"".join(parts)


@given(frames(), st.booleans())
@settings(deadline=None, max_examples=500)
def test_no_frames_make_a_wire_raise(data: bytes, is_server: bool) -> None:
    client, server = pair()
    stream_id = client.send_request("/a/B", (), None)
    client.send_message(stream_id, b"x")
    exchange(client, server)
    server.send_response_headers(stream_id, ())
    wire: Wire = server if is_server else client
    wire.receive(data, 0)
    # Whatever has happened, the ends of a stream can still be asked for.
    server.send_status(stream_id, OK)
    client.end_sending(stream_id)
    client.reset(stream_id, 8)


class Conversation(hs.RuleBasedStateMachine):
    """Messages of several streams, sent and read in any order, arrive whole and in order."""

    def __init__(self) -> None:
        super().__init__()
        self.client, self.server = pair()
        self.sent: dict[int, list[bytes]] = {}
        self.got: dict[int, list[object]] = {}

    streams = hs.Bundle[int]("streams")

    @hs.rule(target=streams)
    def open(self) -> int:
        stream_id = self.client.send_request("/a/B", (), None)
        self.sent[stream_id] = []
        self.got[stream_id] = []
        return stream_id

    @hs.rule(stream_id=streams, size=st.sampled_from([0, 1, 20_000, 300_000]))
    def send(self, stream_id: int, size: int) -> None:
        if not self.client.is_blocked(stream_id):
            payload = bytes((len(self.sent[stream_id]) % 256,)) * size
            self.client.send_message(stream_id, payload)
            self.sent[stream_id].append(payload)

    @hs.rule(stream_id=streams)
    def want(self, stream_id: int) -> None:
        self.server.want(stream_id)

    @hs.rule()
    def carry(self) -> None:
        _, happened = exchange(self.client, self.server)
        for event in happened:
            assert not isinstance(event, ev.ConnectionFailed)
            if isinstance(event, ev.MessageReceived):
                self.got[event.stream_id].append(event.payload)

    @hs.invariant()
    def in_order(self) -> None:
        for stream_id, got in self.got.items():
            assert got == self.sent[stream_id][: len(got)]

    def teardown(self) -> None:
        self.carry()
        for _ in range(30):
            for stream_id in self.sent:
                self.server.want(stream_id)
            self.carry()
        assert self.got == self.sent


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_importing_rpc_loads_neither_asyncio_nor_grpcio() -> None:
    code = "import sys, trio_driver.rpc; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"asyncio", "grpc", "click", "rich"} & set(loaded.stdout.split())
