"""A client that breaks HTTP/2 or gRPC: what it breaks is its stream, or its connection, no more."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from .cases import case
from .probe import Probe, Watched, serving
from .probe_pb2 import Note
from .raw import PREFACE, RawPeer, hf, message, raw_client, request_headers

INTERNAL, UNIMPLEMENTED, RESOURCE_EXHAUSTED, OK = 13, 12, 8, 0
NO_ERROR, PROTOCOL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM = 0, 1, 6, 7
ENHANCE_YOUR_CALM = 11


def settings_bomb() -> bytes:
    return b"".join(hf.SettingsFrame(0).serialize() for _ in range(200))


def frame_inside_header_block() -> bytes:
    head = hf.HeadersFrame(1, b"\x82")
    return head.serialize() + hf.PingFrame(0, b"12345678").serialize()


def endless_header_block() -> bytes:
    head = hf.HeadersFrame(1, b"\x82").serialize()
    more = hf.ContinuationFrame(1, bytes(16_000)).serialize()
    return head + more * 5


BROKEN_CONNECTIONS: dict[str, tuple[bytes, int]] = {
    "data on stream 0": (b"\0\0\1\0\0" + bytes(4) + b"x", PROTOCOL_ERROR),
    "data on a stream never opened": (hf.DataFrame(9, b"x").serialize(), PROTOCOL_ERROR),
    "garbage": (b"\xff" * 100, FRAME_SIZE_ERROR),
    "frame that is too long": (b"\0\x40\x01\0\0" + bytes(3) + b"\1", FRAME_SIZE_ERROR),
    "header block that HPACK cannot decode": (
        b"\0\0\3\1\5\0\0\0\1" + b"\xff\xff\xff",
        PROTOCOL_ERROR,
    ),
    "even stream id": (b"\0\0\1\1\5\0\0\0\2" + b"\x82", PROTOCOL_ERROR),
    "push promise": (b"\0\0\5\5\4\0\0\0\1" + b"\0\0\0\2\x82", PROTOCOL_ERROR),
    "frame inside a header block": (frame_inside_header_block(), PROTOCOL_ERROR),
    "continuation of nothing": (hf.ContinuationFrame(1, b"").serialize(), PROTOCOL_ERROR),
    "header block without end": (endless_header_block(), ENHANCE_YOUR_CALM),
    "short ping": (b"\0\0\3\6\0" + bytes(4) + b"123", FRAME_SIZE_ERROR),
    "short goaway": (b"\0\0\3\7\0" + bytes(4) + b"123", FRAME_SIZE_ERROR),
    "window update of nothing": (b"\0\0\4\x08\0" + bytes(4) + bytes(4), PROTOCOL_ERROR),
    "bad settings": (b"\0\0\6\4\0" + bytes(4) + b"\0\2\0\0\0\7", PROTOCOL_ERROR),
    "settings flood": (settings_bomb(), ENHANCE_YOUR_CALM),
    "ping flood": (hf.PingFrame(0, b"12345678").serialize() * 5_000, ENHANCE_YOUR_CALM),
}


@pytest.mark.parametrize("name", BROKEN_CONNECTIONS)
@case(
    "malformed_data_on_stream0",
    "malformed_garbage_frames",
    "malformed_bad_hpack",
    "ping_flood_5000",
)
async def test_broken_http2_ends_the_connection_with_goaway(name: str) -> None:
    data, code = BROKEN_CONNECTIONS[name]
    watched = Watched()
    async with raw_client(watched.probe()) as peer:
        await peer.send(peer.request(1))
        await watched.wait_running(1)
        await peer.send(data)
        goaway = (await peer.wait_closed())[-1]
        assert isinstance(goaway, hf.GoAwayFrame)
        assert (goaway.error_code, goaway.last_stream_id) in ((code, 1), (code, 3))
        await watched.wait_cancelled(1)


@case("malformed_garbage_frames")
async def test_bytes_that_are_not_http2_close_the_connection(socket_path: Path) -> None:
    async with serving(socket_path):
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", os.urandom(100)):
            async with await trio.open_unix_socket(str(socket_path)) as stream:
                await stream.send_all(garbage)
                frames = await RawPeer(stream).wait_closed()
                assert isinstance(frames[-1], hf.GoAwayFrame)


@case("fd_leak_50_bad_connections", "listener_survives_1000_bad")
async def test_the_listener_survives_many_bad_connections(socket_path: Path) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    async with serving(socket_path) as server:
        for _ in range(1_000):
            async with await trio.open_unix_socket(str(socket_path)) as stream:
                await stream.send_all(b"\xff" * 50)
        async with await trio.open_unix_socket(str(socket_path)) as stream:
            peer = RawPeer(stream)
            await peer.start(is_client=True)
            assert await peer.call(1) == OK
        with trio.fail_after(20):
            await server.connections.wait_value(0)
        assert len(os.listdir("/proc/self/fd")) <= open_before + 1, "the listener"


REFUSED_REQUESTS: dict[str, tuple[dict[str, str | None], dict[str, str]]] = {
    "get": ({"method": "GET"}, {":status": "405"}),
    "html": ({"content_type": "text/html"}, {":status": "415"}),
    "no content type": ({"content_type": None}, {":status": "415"}),
    "path of one segment": ({"path": "/Unary"}, {"grpc-status": "12"}),
    "service that is not there": ({"path": "/trio_driver.Nobody/Unary"}, {"grpc-status": "12"}),
    "path of three segments": ({"path": "/a/b/c"}, {"grpc-status": "12"}),
    "empty path": ({"path": ""}, {"grpc-status": "12"}),
    "timeout that is none": ({"grpc_timeout": "soon"}, {"grpc-status": "13"}),
    "timeout of nine digits": ({"grpc_timeout": "123456789S"}, {"grpc-status": "13"}),
    "binary value that is not base64": ({"x_bin": "%%%"}, {"grpc-status": "13"}),
    "unknown encoding": ({"grpc_encoding": "snappy"}, {"grpc-status": "12"}),
}


@pytest.mark.parametrize("ends_stream", [True, False])
@pytest.mark.parametrize("name", REFUSED_REQUESTS)
@case(
    "malformed_method_get",
    "malformed_content_type_html",
    "malformed_path_one_segment",
    "malformed_path_three_segments",
    "malformed_timeout_garbage",
    "malformed_bin_not_base64",
    "unsupported_encoding",
)
async def test_a_bad_request_is_refused_on_its_stream(name: str, ends_stream: bool) -> None:
    changed, expected = REFUSED_REQUESTS[name]
    async with raw_client() as peer:
        await peer.send(peer.headers(1, request_headers(**changed), end=ends_stream))
        fields = await peer.trailers(1)
        assert {key: fields[key] for key in expected} == expected
        if not ends_stream:
            assert (await peer.next_of(hf.RstStreamFrame, 1)).error_code == NO_ERROR
            await peer.send(peer.data(1, message(), end=True))
        assert await peer.call(3) == OK


async def test_too_much_metadata_is_refused_on_its_stream() -> None:
    # Fields that repeat are short for HPACK; what counts is their full length.
    headers = request_headers() + [("x-long", "v" * 3_000)] * 15
    async with raw_client() as peer:
        await peer.send(peer.headers(1, headers, end=True))
        assert await peer.status(1) == RESOURCE_EXHAUSTED
        assert await peer.call(3) == OK


@pytest.mark.parametrize("missing", ["method", "path", "scheme"])
async def test_a_request_that_is_not_http_is_reset(missing: str) -> None:
    async with raw_client() as peer:
        await peer.send(peer.headers(1, request_headers(**{missing: None}), end=True))
        assert (await peer.next_of(hf.RstStreamFrame, 1)).error_code == PROTOCOL_ERROR
        assert await peer.call(3) == OK


@pytest.mark.parametrize(
    "headers",
    [
        request_headers(te=None),
        [*request_headers(), ("content-type", "application/grpc")],
        [*request_headers(content_type="application/grpc+proto")],
        [*request_headers(), ("x-odd", "caf\xe9")],
    ],
    ids=["no te", "two content types", "content type with suffix", "not ascii"],
)
@case("malformed_no_te", "malformed_dup_content_type", "malformed_header_latin1")
async def test_an_odd_request_is_served(headers: list[tuple[str, str]]) -> None:
    async with raw_client() as peer:
        await peer.send(peer.headers(1, headers), peer.data(1, message(), end=True))
        assert await peer.status(1) == OK


@case("half_close_no_message_unary", "end_stream_on_headers_unary")
async def test_a_unary_request_without_a_message_is_an_error() -> None:
    async with raw_client() as peer:
        await peer.send(peer.headers(1, request_headers(), end=True))
        assert await peer.status(1) == INTERNAL
        await peer.send(peer.headers(3, request_headers()), peer.data(3, b"", end=True))
        assert await peer.status(3) == INTERNAL
        assert await peer.call(5) == OK


@case("end_stream_on_headers_client_stream")
async def test_headers_alone_are_an_empty_client_stream() -> None:
    async with raw_client() as peer:
        path = "/trio_driver.tests.rpc.Probe/ClientStream"
        await peer.send(peer.headers(1, request_headers(path), end=True))
        assert await peer.status(1) == OK


BAD_MESSAGES: dict[str, tuple[bytes, int, dict[str, str | None]]] = {
    "truncated": (message(Note(text="abc"))[:-1], INTERNAL, {}),
    "truncated prefix": (b"\0\0", INTERNAL, {}),
    "not protobuf": (b"\0\0\0\0\2\xff\xff", INTERNAL, {}),
    "too long": (b"\0\x7f\xff\xff\xff", RESOURCE_EXHAUSTED, {}),
    "compressed without an encoding": (message(Note(text="a"), compressed=1), INTERNAL, {}),
    "not gzip": (message(Note(text="a"), compressed=1), INTERNAL, {"grpc_encoding": "gzip"}),
    "truncated gzip": (
        (b"\1\0\0\0" + bytes((len(gzip.compress(b"x")) - 4,))) + gzip.compress(b"x")[:-4],
        INTERNAL,
        {"grpc_encoding": "gzip"},
    ),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
@case("truncated_message", "unparsable_protobuf", "gzip_bad_then_next")
async def test_a_bad_message_ends_its_rpc_with_an_error(name: str) -> None:
    data, code, changed = BAD_MESSAGES[name]
    async with raw_client() as peer:
        await peer.send(peer.headers(1, request_headers(**changed)), peer.data(1, data, end=True))
        assert await peer.status(1) == code
        assert await peer.call(3) == OK


@case("early_status_then_more_data")
async def test_an_early_status_stops_the_client_and_what_it_still_sends_is_dropped() -> None:
    async def one_is_enough(notes: Any, request: object) -> Note:
        return await anext(notes)

    async with raw_client(Probe(client_stream=one_is_enough)) as peer:
        path = "/trio_driver.tests.rpc.Probe/ClientStream"
        await peer.send(peer.headers(1, request_headers(path)), peer.data(1, message()))
        assert await peer.status(1) == OK
        assert (await peer.next_of(hf.RstStreamFrame, 1)).error_code == NO_ERROR
        before = len(peer.seen)
        # More than the connection's window: what is dropped counts against it and is given back.
        for _ in range(20):
            await peer.send(*[peer.data(1, bytes(16_000))] * 64)
            assert await peer.call(3 + 2 * _) == OK
        assert not [f for f in peer.seen[before:] if f.stream_id == 1], (
            "nothing is said of it again"
        )
        granted = sum(f.window_increment for f in peer.seen_of(hf.WindowUpdateFrame))
        assert granted > 16 * 1024 * 1024


@case("malformed_rst_unknown_closed_stream", "malformed_data_after_rst")
async def test_frames_for_streams_that_are_over_are_ignored() -> None:
    async with raw_client() as peer:
        for stream_id in (1, 3, 5):  # h2 forgets a stream when another one is opened
            assert await peer.call(stream_id) == OK
        reset, window = hf.RstStreamFrame(1), hf.WindowUpdateFrame(1)
        window.window_increment = 10
        unopened = hf.RstStreamFrame(99)
        await peer.send(reset, window, unopened, peer.data(1, b"late"))
        await peer.send(peer.headers(7, request_headers()), hf.RstStreamFrame(7, 8))
        await peer.send(peer.data(7, message()), hf.RstStreamFrame(7, 8))
        assert await peer.call(9) == OK
        assert not [f for f in peer.seen if isinstance(f, hf.RstStreamFrame)]


async def test_frames_that_mean_nothing_to_us_are_ignored() -> None:
    priority = hf.PriorityFrame(1, depends_on=1)
    unknown = b"\0\0\3\xee\0\0\0\0\1abc" + b"\0\0\0\xef\0\0\0\0\0" * 5_000
    async with raw_client() as peer:
        await peer.send(priority, unknown)
        assert await peer.call(1) == OK


@case("hpack_int_bomb_60k")
@pytest.mark.parametrize("frames", [2, 4], ids=["32k", "64k"])
@pytest.mark.parametrize("padding", [b"\x80", b"\xff"], ids=["zeros", "ones"])
async def test_a_long_integer_in_a_header_block_stalls_nobody(frames: int, padding: bytes) -> None:
    bomb = [hf.HeadersFrame(1, b"\x7f" + padding * 16_000)]
    bomb += [hf.ContinuationFrame(1, padding * 16_000) for _ in range(frames - 2)]
    more = hf.ContinuationFrame(1, padding * 16_000 + b"\x01")
    more.flags.add("END_HEADERS")
    async with raw_client() as peer:
        before_s = time.process_time()
        await peer.send(*bomb, more)
        await peer.wait_closed()
        assert time.process_time() - before_s < 0.5


async def test_the_preface_may_come_in_pieces(socket_path: Path) -> None:
    async with serving(socket_path), await trio.open_unix_socket(str(socket_path)) as stream:
        peer = RawPeer(stream)
        start = PREFACE + hf.SettingsFrame(0).serialize() + peer.request(1)
        for byte in start:
            await stream.send_all(bytes((byte,)))
        assert await peer.status(1) == OK
