"""Servers, listeners and connections end when they should, and leave nothing behind."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from trio_driver.linux import listen_unix
from trio_driver.rpc import (
    RpcError,
    Server,
    ServerCall,
    StatusCode,
    open_channel,
    open_unix_channel,
)

from .cases import case
from .probe import BIDI, UNARY, Probe, Watched, connected, echo, serving
from .probe_pb2 import Note
from .raw import hf, raw_client, stream_pair


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


@case("fd_leak_100_connections", "trap_sockets_are_closed")
async def test_a_hundred_connections_leave_no_descriptor(socket_path: Path) -> None:
    before = open_fds()
    async with serving(socket_path) as server:
        for _ in range(100):
            async with open_unix_channel(socket_path) as channel:
                await channel.unary_unary(UNARY, Note(), Note)
        await server.connections.wait_value(0)
        assert open_fds() <= before + 1, "the listener"
    assert open_fds() == before


async def test_the_number_of_connections_is_known(socket_path: Path) -> None:
    async with serving(socket_path) as server:
        async with open_unix_channel(socket_path), open_unix_channel(socket_path):
            await server.connections.wait_value(2)
        await server.connections.wait_value(0)


async def test_serving_a_stream_ends_when_its_client_closes() -> None:
    ours, theirs = stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server([Probe()]).serve_stream, ours)
        async with open_channel(theirs) as channel:
            assert (await channel.unary_unary(UNARY, Note(text="a"), Note)).text == "a"


async def test_serving_works_on_any_stream() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server([Probe()]).serve_stream, ours)
        async with open_channel(theirs) as channel:
            assert (await channel.unary_unary(UNARY, Note(text="a"), Note)).text == "a"


async def test_cancelling_a_server_cancels_its_handlers_and_closes_its_connections(
    socket_path: Path,
) -> None:
    watched = Watched()
    server = Server([watched.probe()])
    errors: list[RpcError] = []
    async with trio.open_nursery() as clients:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listener, await listen_unix(socket_path))

            async def ask() -> None:
                async with open_unix_channel(socket_path) as channel:
                    try:
                        await channel.unary_unary(UNARY, Note(), Note)
                    except RpcError as error:
                        errors.append(error)

            for _ in range(3):
                clients.start_soon(ask)
            await watched.wait_running(3)
            nursery.cancel_scope.cancel()
        assert (watched.cancelled.value, server.connections.value) == (3, 0)
    assert [error.code for error in errors] == [StatusCode.UNAVAILABLE] * 3


async def test_a_drained_server_returns(socket_path: Path) -> None:
    go_on = trio.Event()
    started = trio.Event()

    async def wait(note: Note, _call: ServerCall) -> Note:
        started.set()
        await go_on.wait()
        return note

    server = Server([Probe(unary=wait)])
    answers: list[Note] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve_listener, await listen_unix(socket_path))
        async with open_unix_channel(socket_path) as channel, open_unix_channel(socket_path):

            async def ask() -> None:
                answers.append(await channel.unary_unary(UNARY, Note(text="a"), Note))

            nursery.start_soon(ask)
            await started.wait()
            server.drain()
            server.drain()
            with trio.fail_after(20):
                await server.connections.wait_value(1)  # the one without a call is closed
            with pytest.raises(ConnectionRefusedError):
                await trio.open_unix_socket(str(socket_path))
            with pytest.raises(RpcError, match="UNAVAILABLE"):
                await channel.unary_unary(UNARY, Note(), Note)
            go_on.set()
            with trio.fail_after(20):
                await channel.wait_closed()
                await server.connections.wait_value(0)
    assert answers == [Note(text="a")]


async def test_a_connection_that_comes_after_the_drain_is_closed() -> None:
    server = Server([Probe()])
    server.drain()
    ours, theirs = stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, ours)
        async with open_channel(theirs) as channel:
            with pytest.raises(RpcError, match="UNAVAILABLE"):
                await channel.unary_unary(UNARY, Note(), Note)


async def test_a_handlers_clean_up_may_outlast_its_connection_and_is_waited_for() -> None:
    cleaned = trio.Event()
    running = trio.Event()

    async def tidy(note: Note, _call: ServerCall) -> Note:
        running.set()
        try:
            await trio.sleep_forever()
        finally:
            # Shield: a clean-up that takes some time is what the test is about.
            # Ends by: everything being idle, at the latest after five seconds.
            with trio.move_on_after(5, shield=True):
                await trio.testing.wait_all_tasks_blocked(0.02)
                cleaned.set()
        return note

    ours, theirs = stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server([Probe(unary=tidy)]).serve_stream, ours)
        async with open_channel(theirs) as channel, trio.open_nursery() as calls:
            calls.start_soon(channel.unary_unary, UNARY, Note(), Note)
            await running.wait()
            calls.cancel_scope.cancel()
        assert not cleaned.is_set()
    assert cleaned.is_set()


async def test_a_handler_that_shields_itself_sees_its_connection_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes: list[str] = []
    running = trio.Event()

    async def insist(_note: Note, request: ServerCall) -> None:
        running.set()
        # Shield: a handler that ignores its cancellation is what the test is about.
        # Ends by: the connection's end, at the latest after five seconds.
        with trio.fail_after(5, shield=True):
            try:
                await request.reply(Note(data=bytes(1_000_000)))
            except trio.BrokenResourceError:
                outcomes.append("broken")
                raise

    async with raw_client(Probe(unary=insist)) as peer:
        await peer.send(peer.request(1))
        await running.wait()
        await peer.next_of(hf.DataFrame, 1)
        await trio.testing.wait_all_tasks_blocked()  # it waits for the client's window
    assert outcomes == ["broken"]
    assert not caplog.records, "its answer has nobody to go to, which is no bug"


async def test_an_error_in_a_cancelled_handler_ends_nothing_else(
    socket_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = trio.Event()

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def grouped(note: Note, _call: ServerCall) -> Note:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)
            running.set()
        return note

    async with serving(socket_path, Probe(unary=grouped)) as server:
        async with open_unix_channel(socket_path) as channel, trio.open_nursery() as calls:
            calls.start_soon(channel.unary_unary, UNARY, Note(), Note)
            await running.wait()
            calls.cancel_scope.cancel()
        # The connection is lost while the handler runs: the cancellation comes from outside.
        async with open_unix_channel(socket_path) as channel, trio.open_nursery() as calls:
            running = trio.Event()
            calls.start_soon(channel.unary_unary, UNARY, Note(), Note)
            await running.wait()
            calls.cancel_scope.cancel()
        await server.connections.wait_value(0)
    assert len(caplog.records) == 2
    assert all("handler failed" in record.message for record in caplog.records)


async def test_streams_that_are_left_behind_are_closed(socket_path: Path) -> None:
    async with connected(socket_path) as channel:
        async with channel.stream_stream(BIDI, Note) as call:
            await call.send(Note())
        await trio.testing.wait_all_tasks_blocked()
    gc.collect()  # a ResourceWarning or an unfinished generator is an error here


async def test_a_unix_socket_is_for_its_owner_alone(socket_path: Path) -> None:
    async with await listen_unix(socket_path):
        assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600


@case("trap_full_backlog")
async def test_a_burst_of_connects_is_not_refused(socket_path: Path) -> None:
    # At a full backlog a connect that does not block fails at once, with EAGAIN.
    limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    async with await listen_unix(socket_path):
        with contextlib.ExitStack() as clients:
            for _ in range(min(limit, 400)):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(socket_path))


async def test_a_unix_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 108)
    with pytest.raises(ValueError, match="at most 107"):
        await listen_unix(path)
    assert not path.exists()


async def test_a_unix_path_that_is_taken_is_an_error(socket_path: Path) -> None:
    before = open_fds()
    async with await listen_unix(socket_path):
        with pytest.raises(OSError, match="in use"):
            await listen_unix(socket_path)
    assert open_fds() == before


def test_a_method_is_served_by_one_servicer() -> None:
    with pytest.raises(ValueError, match="twice"):
        Server([Probe(), Probe(unary=echo)])
