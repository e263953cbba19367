"""What cancels a handler of ours, with grpcio as the client: each RPC alone, and for good."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
import trio

from trio_driver.rpc import ServerCall

from .cases import case
from .conftest import Peer
from .probe import Probe, Watched, serving
from .probe_pb2 import Note
from .test_server_grpcio import call, grpcio

__all__ = ["grpcio"]


@pytest.mark.parametrize("method", ["Unary", "ServerStream", "ClientStream", "Bidi"])
@case(
    "unary_cancel",
    "server_stream_cancel_blocked",
    "client_stream_cancel",
    "bidi_cancel",
    "trap_scope_before_stream",
)
async def test_cancelling_a_call_cancels_its_handler(
    grpcio: Peer, socket_path: Path, method: str
) -> None:
    watched = Watched()
    async with serving(socket_path, watched.probe()), trio.open_nursery() as calls:
        for name in ("one", "two"):
            calls.start_soon(partial(call, grpcio, method, {}, name=name, stay_open=True))
        await watched.wait_running(2)
        await grpcio.ask("cancel", name="one")
        with trio.fail_after(20):
            await watched.cancelled.wait_value(1)
        assert watched.running.value == 1, "the other call's handler goes on"
        await grpcio.ask("cancel", name="two")
        await watched.wait_cancelled(2)


@case("server_stream_cancel")
async def test_a_call_left_after_some_messages_cancels_its_handler(
    grpcio: Peer, socket_path: Path
) -> None:
    watched = Watched()
    async with serving(socket_path, watched.probe()):
        out = await call(grpcio, "ServerStream", {"count": 5}, cancel_after=3)
        assert (out["code"], len(out["notes"])) == ("CANCELLED", 3)
        await watched.wait_cancelled(1)


@case("deadline")
async def test_a_deadline_cancels_the_handler(grpcio: Peer, socket_path: Path) -> None:
    watched = Watched()
    async with serving(socket_path, watched.probe()):
        answer = await call(grpcio, "Unary", {}, timeout=1.0)
        assert answer["code"] == "DEADLINE_EXCEEDED"
        await watched.wait_cancelled(1)


async def test_the_deadline_is_known_to_the_handler(grpcio: Peer, socket_path: Path) -> None:
    left_s: list[float] = []

    async def look(note: Note, request: ServerCall) -> Note:
        left_s.append(request.deadline - trio.current_time())
        return note

    async with serving(socket_path, Probe(unary=look)):
        await call(grpcio, "Unary", {}, timeout=10)
        await call(grpcio, "Unary", {}, timeout=None)
    assert 5 < left_s[0] <= 10
    assert left_s[1] == math.inf


@case("client_disconnect")
async def test_losing_the_connection_cancels_all_its_handlers(
    grpcio: Peer, socket_path: Path
) -> None:
    watched = Watched()
    async with serving(socket_path, watched.probe()) as server, trio.open_nursery() as calls:
        for number in range(20):
            calls.start_soon(partial(call, grpcio, "Unary", {}, name=str(number)))
        await watched.wait_running(20)
        grpcio.process.kill()
        await watched.wait_cancelled(20)
        with trio.fail_after(20):
            await server.connections.wait_value(0)
        calls.cancel_scope.cancel()


async def test_a_drain_lets_calls_end_and_refuses_new_ones(grpcio: Peer, socket_path: Path) -> None:
    go_on = trio.Event()
    started = trio.Event()

    async def wait(note: Note, request: ServerCall) -> Note:
        started.set()
        await go_on.wait()
        return note

    answers: list[str] = []

    async def ask() -> None:
        answers.append((await call(grpcio, "Unary", {}))["code"])

    async with serving(socket_path, Probe(unary=wait)) as server:
        async with trio.open_nursery() as calls:
            calls.start_soon(ask)
            await started.wait()
            server.drain()
            assert (await call(grpcio, "Unary", {}, timeout=5))["code"] == "UNAVAILABLE"
            go_on.set()
        assert answers == ["OK"]
        with trio.fail_after(20):
            await server.connections.wait_value(0)
