"""The service of probe.proto, with handlers that a test brings along."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import purerpc
import trio
from trio_util import AsyncValue

from trio_driver.linux import listen_unix
from trio_driver.rpc import Channel, Server, ServerCall, open_unix_channel

from .probe_pb2 import Note

UNARY = "/trio_driver.tests.rpc.Probe/Unary"
SERVER_STREAM = "/trio_driver.tests.rpc.Probe/ServerStream"
CLIENT_STREAM = "/trio_driver.tests.rpc.Probe/ClientStream"
BIDI = "/trio_driver.tests.rpc.Probe/Bidi"

UnaryHandler: TypeAlias = Callable[[Note, ServerCall], Awaitable[Note | None]]
ServerStreamHandler: TypeAlias = Callable[[Note, ServerCall], AsyncIterator[Note]]
ClientStreamHandler: TypeAlias = Callable[[AsyncIterator[Note], ServerCall], Awaitable[Note | None]]
BidiHandler: TypeAlias = Callable[[AsyncIterator[Note], ServerCall], AsyncIterator[Note]]


async def echo(note: Note, _call: ServerCall) -> Note:
    return note


async def count_up(note: Note, _call: ServerCall) -> AsyncIterator[Note]:
    for number in range(note.count):
        yield Note(text=note.text, data=note.data, count=number)


async def total(notes: AsyncIterator[Note], _call: ServerCall) -> Note:
    answer = Note()
    async for note in notes:
        answer.text += note.text
        answer.count += 1
    return answer


async def echo_all(notes: AsyncIterator[Note], _call: ServerCall) -> AsyncIterator[Note]:
    async for note in notes:
        yield note


@dataclass(kw_only=True)
class Probe(purerpc.Servicer):
    """Handlers of the four methods; each just answers unless a test says otherwise."""

    unary: UnaryHandler = echo
    server_stream: ServerStreamHandler = count_up
    client_stream: ClientStreamHandler = total
    bidi: BidiHandler = echo_all

    async def Unary(self, input_message: Note, request: ServerCall) -> Note | None:
        return await self.unary(input_message, request)

    def ServerStream(self, input_message: Note, request: ServerCall) -> AsyncIterator[Note]:
        return self.server_stream(input_message, request)

    async def ClientStream(
        self, input_messages: AsyncIterator[Note], request: ServerCall
    ) -> Note | None:
        return await self.client_stream(input_messages, request)

    def Bidi(self, input_messages: AsyncIterator[Note], request: ServerCall) -> AsyncIterator[Note]:
        return self.bidi(input_messages, request)

    @property
    def service(self) -> purerpc.Service:
        service = purerpc.Service("trio_driver.tests.rpc.Probe")
        kinds = purerpc.Cardinality
        for name, function, cardinality in (
            ("Unary", self.Unary, kinds.UNARY_UNARY),
            ("ServerStream", self.ServerStream, kinds.UNARY_STREAM),
            ("ClientStream", self.ClientStream, kinds.STREAM_UNARY),
            ("Bidi", self.Bidi, kinds.STREAM_STREAM),
        ):
            signature = purerpc.RPCSignature(cardinality, Note, Note)
            service.add_method(name, function, signature)  # pyright: ignore[reportUnknownMemberType]
        return service


@asynccontextmanager
async def serving(
    path: Path, probe: Probe | None = None, *, max_message_bytes: int = 32 * 1024 * 1024
) -> AsyncGenerator[Server]:
    """A server of `probe` on the unix socket at `path`, for the length of the block."""
    server = Server([probe or Probe()], max_message_bytes=max_message_bytes)
    listener = await listen_unix(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve_listener, listener)
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(path: Path, probe: Probe | None = None) -> AsyncGenerator[Channel]:
    """A channel to a server of `probe`, both ours, for the length of the block."""
    async with serving(path, probe), open_unix_channel(path) as channel:
        yield channel


class Watched:
    """Handlers that wait for ever, and a count of those that run and were cancelled."""

    def __init__(self) -> None:
        self.running = AsyncValue(0)
        self.cancelled = AsyncValue(0)

    async def wait(self) -> None:
        """Wait to be cancelled."""
        self.running.value += 1
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.value += 1
            raise
        finally:
            self.running.value -= 1

    async def unary(self, note: Note, _call: ServerCall) -> Note:
        await self.wait()
        return note

    async def server_stream(self, note: Note, _call: ServerCall) -> AsyncIterator[Note]:
        for number in range(note.count):
            yield Note(count=number)
        await self.wait()

    async def client_stream(self, notes: AsyncIterator[Note], _call: ServerCall) -> Note:
        """Waits in its input, not in a sleep."""
        self.running.value += 1
        try:
            async for _ in notes:
                pass
        except trio.Cancelled:
            self.cancelled.value += 1
            raise
        finally:
            self.running.value -= 1
        return Note()

    async def bidi(self, notes: AsyncIterator[Note], call: ServerCall) -> AsyncIterator[Note]:
        yield await self.client_stream(notes, call)

    def probe(self) -> Probe:
        return Probe(
            unary=self.unary,
            server_stream=self.server_stream,
            client_stream=self.client_stream,
            bidi=self.bidi,
        )

    async def wait_running(self, count: int) -> None:
        with trio.fail_after(20):
            await self.running.wait_value(count)

    async def wait_cancelled(self, count: int) -> None:
        with trio.fail_after(20):
            await self.cancelled.wait_value(count)
            await self.running.wait_value(0)
