"""grpcio as the client of our server: cardinalities, statuses, metadata, sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_util import AsyncValue

from trio_driver._proto import status_pb2
from trio_driver.linux import listen_unix
from trio_driver.rpc import RpcError, Server, ServerCall, StatusCode

from .cases import case
from .conftest import Peer
from .probe import Probe, serving
from .probe_pb2 import Note
from .streams import Tap

MIB = 1024 * 1024


@pytest.fixture
async def grpcio(peer: Peer, socket_path: Path) -> Peer:
    """The peer with a channel "c" to where the test is going to serve."""
    await peer.ask("open", channel="c", target=f"unix:{socket_path}")
    return peer


async def call(peer: Peer, method: str, *notes: dict[str, Any], **options: Any) -> dict[str, Any]:
    return await peer.ask("call", channel="c", method=method, notes=list(notes), **options)


@case("unary", "four_cardinalities")
async def test_all_four_cardinalities_work(grpcio: Peer, socket_path: Path) -> None:
    async with serving(socket_path):
        unary = await call(grpcio, "Unary", {"text": "a", "size": 3})
        assert (unary["code"], unary["notes"]) == ("OK", [{"text": "a", "size": 3, "count": 0}])
        out = await call(grpcio, "ServerStream", {"count": 3})
        assert (out["code"], [note["count"] for note in out["notes"]]) == ("OK", [0, 1, 2])
        into = await call(grpcio, "ClientStream", {"text": "a"}, {"text": "b"})
        assert (into["code"], into["notes"][0]["text"]) == ("OK", "ab")
        both = await call(grpcio, "Bidi", {"text": "a"}, {"text": "b"})
        assert (both["code"], [note["text"] for note in both["notes"]]) == ("OK", ["a", "b"])


@case("half_close_no_message_client_stream")
async def test_a_client_stream_may_be_empty(grpcio: Peer, socket_path: Path) -> None:
    async with serving(socket_path):
        into = await call(grpcio, "ClientStream")
        assert (into["code"], into["notes"][0]["count"]) == ("OK", 0)
        both = await call(grpcio, "Bidi")
        assert (both["code"], both["notes"]) == ("OK", [])


async def test_a_reply_is_the_answer_of_a_unary_handler(grpcio: Peer, socket_path: Path) -> None:
    after: list[str] = []

    async def reply(note: Note, request: ServerCall) -> None:
        await request.reply(Note(text=note.text + "!"))
        after.append("went on")

    async with serving(socket_path, Probe(unary=reply)):
        answer = await call(grpcio, "Unary", {"text": "a"})
        assert (answer["code"], answer["notes"][0]["text"]) == ("OK", "a!")
    assert after == ["went on"]


@case("error_status_utf8")
async def test_a_status_arrives_with_its_message_and_details(
    grpcio: Peer, socket_path: Path
) -> None:
    async def fail(note: Note, request: ServerCall) -> Note:
        raise RpcError(StatusCode.NOT_FOUND, "nö %41 such\nthing ☃", (("type/x", b"\x00\xff"),))

    async with serving(socket_path, Probe(unary=fail)):
        answer = await call(grpcio, "Unary", {})
    assert (answer["code"], answer["message"]) == ("NOT_FOUND", "nö %41 such\nthing ☃")
    trailing = dict(answer["trailing"])
    details = status_pb2.Status.FromString(trailing["grpc-status-details-bin"].encode("latin-1"))
    assert (details.code, details.message) == (5, "nö %41 such\nthing ☃")
    assert [(d.type_url, d.value) for d in details.details] == [("type/x", b"\x00\xff")]


@case("fail_after_messages")
async def test_a_status_may_follow_messages(grpcio: Peer, socket_path: Path) -> None:
    async def three_then_fail(note: Note, request: ServerCall) -> AsyncIterator[Note]:
        for number in range(3):
            yield Note(count=number)
        raise RpcError(StatusCode.NOT_FOUND, "no more")

    async with serving(socket_path, Probe(server_stream=three_then_fail)):
        out = await call(grpcio, "ServerStream", {})
    assert (out["code"], len(out["notes"])) == ("NOT_FOUND", 3)


@case("handler_exception")
async def test_a_bug_is_unknown_and_tells_nothing_of_us(
    grpcio: Peer, socket_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def bug(note: Note, request: ServerCall) -> Note:
        raise ZeroDivisionError("secret")

    async with serving(socket_path, Probe(unary=bug)):
        answer = await call(grpcio, "Unary", {})
    assert answer["code"] == "UNKNOWN"
    assert "secret" not in answer["message"]
    assert "ZeroDivision" not in answer["message"]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


@case("handler_exception_group")
async def test_the_status_of_a_group_is_that_of_the_error_in_it(
    grpcio: Peer, socket_path: Path
) -> None:
    async def fail() -> None:
        raise RpcError(StatusCode.ABORTED, "from inside")

    async def grouped(note: Note, request: ServerCall) -> Note:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)
        raise AssertionError

    async with serving(socket_path, Probe(unary=grouped)):
        answer = await call(grpcio, "Unary", {})
    assert (answer["code"], answer["message"]) == ("ABORTED", "from inside")


@case("unknown_method_and_service", "not_implemented_error")
async def test_what_is_not_there_is_unimplemented(grpcio: Peer, socket_path: Path) -> None:
    async def not_yet(note: Note, request: ServerCall) -> Note:
        raise NotImplementedError

    async with serving(socket_path, Probe(unary=not_yet)):
        for method in ("Unary", "NoSuchMethod"):
            assert (await call(grpcio, method, {}))["code"] == "UNIMPLEMENTED"
        assert (await call(grpcio, "ServerStream", {"count": 1}))["code"] == "OK"


@case("metadata_request_bin", "metadata_response")
async def test_metadata_goes_both_ways_binary_values_included(
    grpcio: Peer, socket_path: Path
) -> None:
    values = [b"", b"\x00", b"\x00\xff", b"abc", b"abcd"]

    async def give_back(note: Note, request: ServerCall) -> Note:
        mine = [(key, value) for key, value in request.metadata if key.startswith("x-")]
        request.initial_metadata = mine
        request.trailing_metadata = [(f"t{key}", value) for key, value in mine]
        return note

    sent = [["x-text", "some text"], ["x-text", "again"]]
    sent += [["x-some-bin", value.decode("latin-1")] for value in values]
    async with serving(socket_path, Probe(unary=give_back)):
        answer = await call(grpcio, "Unary", {}, metadata=sent)
    assert answer["code"] == "OK"
    assert [pair for pair in answer["initial"] if pair[0].startswith("x-")] == sent
    trailing = [[key[1:], value] for key, value in answer["trailing"] if key.startswith("tx-")]
    assert trailing == sent


@case("metadata_10k")
async def test_ten_kilobytes_of_metadata_are_accepted(grpcio: Peer, socket_path: Path) -> None:
    async with serving(socket_path):
        metadata = [[f"x-{number}", "v" * 100] for number in range(75)]
        assert (await call(grpcio, "Unary", {}, metadata=metadata))["code"] == "OK"
        assert (await call(grpcio, "Unary", {}))["code"] == "OK"


@case("msg_5MiB_both_ways")
async def test_large_messages_go_both_ways(grpcio: Peer, socket_path: Path) -> None:
    async with serving(socket_path):
        answer = await call(grpcio, "Unary", {"size": 5 * MIB})
        assert (answer["code"], answer["notes"][0]["size"]) == ("OK", 5 * MIB)
        both = await call(grpcio, "Bidi", *[{"size": MIB}] * 5)
        assert (both["code"], [note["size"] for note in both["notes"]]) == ("OK", [MIB] * 5)


async def test_a_message_over_the_limit_ends_only_its_rpc(grpcio: Peer, socket_path: Path) -> None:
    async def grow(note: Note, request: ServerCall) -> Note:
        return Note(data=bytes(note.count))

    async with serving(socket_path, Probe(unary=grow), max_message_bytes=MIB):
        assert (await call(grpcio, "Unary", {"size": 2 * MIB}))["code"] == "RESOURCE_EXHAUSTED"
        assert (await call(grpcio, "Unary", {"count": 2 * MIB}))["code"] == "RESOURCE_EXHAUSTED"
        into = await call(grpcio, "ClientStream", {}, {"size": 2 * MIB}, {})
        assert into["code"] == "RESOURCE_EXHAUSTED"
        assert (await call(grpcio, "Unary", {"count": 10}))["code"] == "OK"


@case("msg_40MiB_rejected", "response_40MiB_rejected")
async def test_forty_mebibytes_are_over_the_limit_unless_it_is_raised(
    grpcio: Peer, socket_path: Path
) -> None:
    async def grow(note: Note, request: ServerCall) -> Note:
        return Note(data=bytes(note.count))

    async with serving(socket_path, Probe(unary=grow)):
        assert (await call(grpcio, "Unary", {"size": 40 * MIB}))["code"] == "RESOURCE_EXHAUSTED"
        assert (await call(grpcio, "Unary", {"count": 40 * MIB}))["code"] == "RESOURCE_EXHAUSTED"
        assert (await call(grpcio, "Unary", {}))["code"] == "OK"


@pytest.mark.parametrize("compression", ["Gzip", "Deflate"])
@case("gzip_request", "deflate_request")
async def test_compressed_requests_are_read(
    grpcio: Peer, socket_path: Path, compression: str
) -> None:
    async with serving(socket_path, max_message_bytes=MIB):
        answer = await call(grpcio, "Unary", {"size": MIB // 2}, compression=compression)
        assert (answer["code"], answer["notes"][0]["size"]) == ("OK", MIB // 2)
        bomb = await call(grpcio, "Unary", {"size": 20 * MIB}, compression=compression)
        assert bomb["code"] == "RESOURCE_EXHAUSTED"
        both = await call(
            grpcio, "Bidi", {"text": "a"}, {"size": MIB // 2}, compression=compression
        )
        assert (both["code"], len(both["notes"])) == ("OK", 2)


@case("concurrent_1000")
async def test_a_thousand_calls_at_once_are_served(grpcio: Peer, socket_path: Path) -> None:
    everybody = trio.Event()
    waiting = 0

    async def meet(note: Note, request: ServerCall) -> Note:
        nonlocal waiting
        waiting += 1
        if waiting == 1000:
            everybody.set()
        await everybody.wait()
        return note

    async with serving(socket_path, Probe(unary=meet)):
        results = await grpcio.ask("repeat", channel="c", times=1000, method="Unary", notes=[{}])
    assert results == {"OK": 1000}


@case("keepalive_ccore")
async def test_pings_of_a_client_that_keeps_alive_are_answered(
    peer: Peer, socket_path: Path
) -> None:
    # C-core closes a connection whose ping is not answered within the timeout.
    options = [
        ["grpc.keepalive_time_ms", 50],
        ["grpc.keepalive_timeout_ms", 500],
        ["grpc.http2.max_pings_without_data", 0],
    ]
    pings = AsyncValue(0)

    def count_pings(data: bytes) -> None:
        pings.value += data.startswith(b"\x00\x00\x08\x06\x00")

    async def outlast_pings(note: Note, request: ServerCall) -> Note:
        await pings.wait_value(lambda count: count >= 2)
        return note

    server = Server([Probe(unary=outlast_pings)])

    async def serve(stream: trio.SocketStream) -> None:
        tap = Tap(stream)
        tap.on_received = count_pings
        await server.serve_stream(tap)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [await listen_unix(socket_path)])
        await peer.ask("open", channel="c", target=f"unix:{socket_path}", options=options)
        assert (await call(peer, "Unary", {}))["code"] == "OK"
        nursery.cancel_scope.cancel()
