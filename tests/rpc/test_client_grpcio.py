"""Our client and a server of grpcio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from trio_driver.rpc import Channel, RpcError, StatusCode, open_unix_channel

from .cases import case
from .conftest import Peer
from .probe import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY
from .probe_pb2 import Note

MIB = 1024 * 1024


@pytest.fixture
async def grpcio(peer: Peer, socket_path: Path) -> Peer:
    """The peer, serving on `socket_path`."""
    await peer.ask("serve", target=f"unix:{socket_path}")
    return peer


async def each(*notes: Note) -> AsyncIterator[Note]:
    for note in notes:
        yield note


async def fails(channel: Channel, note: Note, deadline_s: float | None = None) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await channel.unary_unary(UNARY, note, Note, deadline_s=deadline_s)
    return caught.value


@case("client_four_cardinalities")
async def test_all_four_cardinalities_work(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path) as channel:
        answer = await channel.unary_unary(UNARY, Note(text="a", count=3), Note)
        assert (answer.text, answer.data) == ("a", b"xxx")
        async with channel.unary_stream(SERVER_STREAM, Note(count=3), Note) as notes:
            assert [note.count async for note in notes] == [0, 1, 2]
        into = each(Note(text="a"), Note(text="b"))
        assert (await channel.stream_unary(CLIENT_STREAM, into, Note)).text == "ab"
        async with channel.stream_stream(BIDI, Note) as call:
            for text in "abc":
                await call.send(Note(text=text))
                assert (await anext(call)).text == text
            await call.done_sending()
            assert [note async for note in call] == []


@case("client_empty_client_stream")
async def test_a_client_stream_may_be_empty(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path) as channel:
        assert (await channel.stream_unary(CLIENT_STREAM, each(), Note)).count == 0


@case("client_error_statuses_utf8")
async def test_a_status_is_an_error_with_its_message(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path) as channel:
        error = await fails(channel, Note(text="fail"))
        assert (error.code, error.message) == (StatusCode.NOT_FOUND, "nö such thing: 100%")
        async with channel.unary_stream(SERVER_STREAM, Note(text="fail", count=2), Note) as notes:
            assert [(await anext(notes)).count for _ in range(2)] == [0, 1]
            with pytest.raises(RpcError, match="NOT_FOUND"):
                await anext(notes)


@case("client_msg_5MiB")
async def test_large_messages_go_both_ways(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path) as channel:
        answer = await channel.unary_unary(UNARY, Note(data=bytes(5 * MIB), count=5 * MIB), Note)
        assert len(answer.data) == 5 * MIB


async def test_a_message_over_the_limit_ends_only_its_call(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path, max_message_bytes=MIB) as channel:
        too_long = Note(data=bytes(2 * MIB))
        assert (await fails(channel, too_long)).code is StatusCode.RESOURCE_EXHAUSTED
        assert (await fails(channel, Note(count=2 * MIB))).code is StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(RpcError, match="RESOURCE_EXHAUSTED"):
            await channel.stream_unary(CLIENT_STREAM, each(Note(), too_long), Note)
        assert (await channel.unary_unary(UNARY, Note(text="a"), Note)).text == "a"


@case("client_msg_40MiB")
async def test_forty_mebibytes_are_over_the_limit_both_ways(
    grpcio: Peer, socket_path: Path
) -> None:
    async with open_unix_channel(socket_path) as channel:
        for note in (Note(data=bytes(40 * MIB)), Note(count=40 * MIB)):
            assert (await fails(channel, note)).code is StatusCode.RESOURCE_EXHAUSTED
        assert (await channel.unary_unary(UNARY, Note(text="a"), Note)).text == "a"


@case("client_gzip_answer")
async def test_compressed_answers_are_read(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path, max_message_bytes=MIB) as channel:
        answer = await channel.unary_unary(UNARY, Note(text="gzip", count=MIB // 2), Note)
        assert len(answer.data) == MIB // 2
        bomb = Note(text="gzip", count=20 * MIB)
        assert (await fails(channel, bomb)).code is StatusCode.RESOURCE_EXHAUSTED


@case("client_concurrent_500")
async def test_five_hundred_calls_at_once_are_answered(grpcio: Peer, socket_path: Path) -> None:
    answered: list[str] = []

    async with open_unix_channel(socket_path) as channel:

        async def ask(number: int) -> None:
            note = await channel.unary_unary(UNARY, Note(text=str(number)), Note)
            answered.append(note.text)

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(ask, number)
    assert sorted(answered, key=int) == [str(number) for number in range(500)]


@case("client_response_metadata", "client_metadata_request_bin")
async def test_metadata_of_the_answer_can_be_read(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path) as channel:
        sent = [("x-text", "a"), ("x-bin", b"\x00\x01\x02")]
        async with channel.stream_stream(BIDI, Note, metadata=sent) as call:
            await call.send(Note(text="metadata"))
            await call.done_sending()
            assert len([note async for note in call]) == 1
        assert ("x-text", "hi") in call.initial_metadata
        assert ("x-bin", b"\x00\xff") in call.initial_metadata
        seen = {("seen-x-text", "a"), ("seen-x-bin", b"\x00\x01\x02")}
        assert set(call.trailing_metadata) == {("y-text", "bye"), ("y-bin", b"\x01"), *seen}


@pytest.mark.parametrize("path", [UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI])
@case("client_cancel_unary")
async def test_a_cancelled_call_cancels_the_handler(
    grpcio: Peer, socket_path: Path, path: str
) -> None:
    async with open_unix_channel(socket_path) as channel:

        async def call() -> None:
            if path == UNARY:
                await channel.unary_unary(path, Note(text="wait"), Note)
            elif path == CLIENT_STREAM:
                await channel.stream_unary(path, each(Note(text="wait")), Note)
            elif path == SERVER_STREAM:
                async with channel.unary_stream(path, Note(text="wait"), Note) as notes:
                    await anext(notes)
            else:
                async with channel.stream_stream(path, Note) as call:
                    await call.send(Note(text="wait"))
                    await anext(call)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await grpcio.ask("wait_for", started=1)
            nursery.cancel_scope.cancel()
        await grpcio.ask("wait_for", cancelled=1)
        assert (await channel.unary_unary(UNARY, Note(text="a"), Note)).text == "a"


@case("client_abandon_server_stream")
async def test_a_stream_that_is_left_early_cancels_the_handler(
    grpcio: Peer, socket_path: Path
) -> None:
    async with open_unix_channel(socket_path) as channel:
        async with channel.unary_stream(SERVER_STREAM, Note(text="wait", count=5), Note) as notes:
            assert (await anext(notes)).count == 0
            await grpcio.ask("wait_for", started=1)
        await grpcio.ask("wait_for", cancelled=1)


@case("client_deadline")
async def test_a_deadline_is_kept_on_both_sides(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path) as channel:
        error = await fails(channel, Note(text="wait"), deadline_s=1.0)
        assert error.code is StatusCode.DEADLINE_EXCEEDED
        await grpcio.ask("wait_for", cancelled=1)
        async with channel.stream_stream(BIDI, Note, deadline_s=1.0) as call:
            await call.send(Note(text="wait"))
            with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
                await anext(call)


@case("client_early_answer_to_client_stream")
async def test_an_early_answer_ends_a_client_stream(grpcio: Peer, socket_path: Path) -> None:
    async def endless() -> AsyncIterator[Note]:
        yield Note(text="early")
        while True:
            yield Note(data=bytes(10_000))
            await trio.lowlevel.checkpoint()

    async with open_unix_channel(socket_path) as channel:
        with trio.fail_after(20):
            answer = await channel.stream_unary(CLIENT_STREAM, endless(), Note)
        assert answer.text == "early"
        assert (await channel.unary_unary(UNARY, Note(text="a"), Note)).text == "a"


@case("client_server_killed_mid_call")
async def test_a_killed_server_makes_calls_unavailable(grpcio: Peer, socket_path: Path) -> None:
    async with open_unix_channel(socket_path) as channel:

        async def kill() -> None:
            await grpcio.ask("wait_for", started=1)
            grpcio.process.kill()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            with trio.fail_after(20):
                assert (await fails(channel, Note(text="wait"))).code is StatusCode.UNAVAILABLE
        with trio.fail_after(20):
            assert (await fails(channel, Note())).code is StatusCode.UNAVAILABLE
            await channel.wait_closed()


@case("client_server_goaway")
async def test_a_server_that_goes_away_finishes_the_calls_that_it_has(
    grpcio: Peer, socket_path: Path
) -> None:
    async with open_unix_channel(socket_path) as channel:
        answers: list[Note] = []

        async def ask() -> None:
            answers.append(await channel.unary_unary(UNARY, Note(text="slow"), Note))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await grpcio.ask("wait_for", started=1)
            nursery.start_soon(lambda: grpcio.ask("stop", grace=5))
        assert len(answers) == 1
        with trio.fail_after(20):
            await channel.wait_closed()
            assert (await fails(channel, Note())).code is StatusCode.UNAVAILABLE


@case("client_connect_refused")
async def test_nobody_listening_is_an_error_of_the_kernel(socket_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with open_unix_channel(socket_path):
            pass
