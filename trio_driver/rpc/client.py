"""The client: calls on one connection.

Owns the connection for the length of a block. Rules:
- Every call ends: with a message, or with `RpcError`, also when the connection is lost, closed or
  refuses more.
- A call that is left early is reset, so that its handler is cancelled.

Must not know: how the other end was started or found.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import trio
from google.protobuf.message import Message

from trio_driver.rpc import events as ev
from trio_driver.rpc.client_call import ClientCall, in_time
from trio_driver.rpc.client_wire import ClientWire
from trio_driver.rpc.connection import Connection
from trio_driver.rpc.frames import CANCEL
from trio_driver.rpc.messages import MAX_MESSAGE_BYTES
from trio_driver.rpc.metadata import Metadata
from trio_driver.rpc.rpc_stream import RpcStream
from trio_driver.rpc.service import StatusCode
from trio_driver.rpc.status import RpcError, Status, status_of_reset

Resp = TypeVar("Resp", bound=Message)


class ClientConnection(Connection[ClientWire]):
    """The connection to one server."""

    def __init__(self, stream: trio.abc.Stream, *, max_message_bytes: int) -> None:
        super().__init__(stream, ClientWire(max_message_bytes=max_message_bytes))
        self.closed = trio.Event()
        self._calls: dict[int, ClientCall[Any, Any]] = {}
        self._refusal: Status | None = None
        """Why no further call can be made."""
        self._room = trio.lowlevel.ParkingLot()

    async def serve(self) -> None:
        """Read answers until the server closes, or has gone away and the last call has ended."""
        try:
            await self.read()
        finally:
            reason = self.failure or "the connection is closed"
            self._refuse_calls(Status(StatusCode.UNAVAILABLE, reason))
            for stream_id in list(self._calls):
                self._end_call(stream_id, Status(StatusCode.UNAVAILABLE, reason))
            self.closed.set()

    async def open_call(
        self, path: str, response_type: type[Resp], *, deadline: float, metadata: Metadata
    ) -> ClientCall[Any, Resp]:
        """Send a request's headers; waits while the server allows no more calls at a time.

        Raises:
            RpcError: UNAVAILABLE, the connection is lost or the server has gone away.
            ValueError: the metadata cannot be sent.
        """
        while self.wire.is_full and self._refusal is None:
            await self._room.park()
        if self._refusal is not None:
            raise RpcError.of(self._refusal)
        timeout_s = None if deadline == math.inf else max(0.0, deadline - trio.current_time())
        stream_id = self.wire.send_request(path, metadata, timeout_s)
        rpc_stream = RpcStream(stream_id, self.wire, self)
        call = ClientCall[Any, Resp](rpc_stream, response_type, deadline=deadline)
        self.rpc_streams[stream_id] = rpc_stream
        self._calls[stream_id] = call
        self.wake_writer()
        return call

    def close_call(self, call: ClientCall[Any, Any]) -> None:
        """The call's user has left: reset what is left of it."""
        stream_id = call.rpc_stream.stream_id
        self.wire.reset(stream_id, CANCEL)
        self._end_call(stream_id, Status(StatusCode.CANCELLED, "the call has been left"))
        del self._calls[stream_id]
        self.rpc_streams.pop(stream_id).close()
        self.wake_writer()
        self._room.unpark()
        if self._refusal is not None and not self._calls:
            self.reading.cancel()

    def on_event(self, event: ev.Event) -> None:
        """Act on what the server did."""
        match event:
            case ev.ResponseReceived(stream_id, metadata):
                if call := self._calls.get(stream_id):
                    call.initial_metadata = metadata
            case ev.StatusReceived(stream_id, status, metadata):
                if call := self._calls.get(stream_id):
                    call.trailing_metadata = metadata
                self._end_call(stream_id, status)
            case ev.InputFailed(stream_id, status):
                self._end_call(stream_id, status)
                self.wire.reset(stream_id, CANCEL)
            case ev.StreamReset(stream_id, code):
                self._end_call(stream_id, status_of_reset(code))
            case ev.GoAwayReceived(last_stream_id):
                self._go_away(last_stream_id)
            case ev.LimitsChanged():
                self._room.unpark_all()
            case _:
                super().on_event(event)

    def _go_away(self, last_stream_id: int) -> None:
        status = Status(StatusCode.UNAVAILABLE, "the server is going away")
        self._refuse_calls(status)
        for stream_id in list(self._calls):
            if stream_id > last_stream_id:
                self._end_call(stream_id, status)
                self.wire.reset(stream_id, CANCEL)
        if not self._calls:
            self.reading.cancel()

    def _refuse_calls(self, status: Status) -> None:
        if self._refusal is None:
            self._refusal = status
        self._room.unpark_all()

    def _end_call(self, stream_id: int, status: Status) -> None:
        if rpc_stream := self.rpc_streams.get(stream_id):
            rpc_stream.end_input(None if status.code is StatusCode.OK else status)
            rpc_stream.end_output()


class Channel:
    """Makes calls on a connection; satisfies `Channel` of the generated code.

    In all calls: `deadline_s` is in seconds from now. Every end but OK raises `RpcError`; a
    deadline that passes is DEADLINE_EXCEEDED, a lost connection UNAVAILABLE. Cancelling a call, or
    leaving its block, resets it.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def wait_closed(self) -> None:
        """Wait until the connection is over: lost, or closed by the server."""
        await self._connection.closed.wait()

    async def unary_unary(
        self,
        path: str,
        input_message: Message,
        response_type: type[Resp],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> Resp:
        """One message there, one back."""
        async with self._open(path, response_type, deadline_s, metadata) as call:
            await call.send_only(input_message)
            return await call.receive_only()

    @asynccontextmanager
    async def unary_stream(
        self,
        path: str,
        input_message: Message,
        response_type: type[Resp],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> AsyncGenerator[AsyncIterator[Resp]]:
        """One message there, any number back."""
        async with self._open(path, response_type, deadline_s, metadata) as call:
            await call.send_only(input_message)
            yield call

    async def stream_unary(
        self,
        path: str,
        input_messages: AsyncIterable[Message],
        response_type: type[Resp],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> Resp:
        """Any number there, one back; stops sending when the answer comes early.

        An exception of `input_messages` ends the call and is raised.
        """
        async with self._open(path, response_type, deadline_s, metadata) as call:
            return await call.exchange(input_messages)

    def stream_stream(
        self,
        path: str,
        response_type: type[Resp],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> AbstractAsyncContextManager[ClientCall[Any, Resp]]:
        """Any number there, any number back."""
        return self._open(path, response_type, deadline_s, metadata)

    @asynccontextmanager
    async def _open(
        self,
        path: str,
        response_type: type[Resp],
        deadline_s: float | None,
        metadata: Metadata,
    ) -> AsyncGenerator[ClientCall[Any, Resp]]:
        deadline = math.inf if deadline_s is None else trio.current_time() + deadline_s
        opening = self._connection.open_call(
            path, response_type, deadline=deadline, metadata=metadata
        )
        call = await in_time(opening, deadline=deadline)
        try:
            yield call
        finally:
            self._connection.close_call(call)


@asynccontextmanager
async def open_channel(
    stream: trio.abc.Stream, *, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> AsyncGenerator[Channel]:
    """Own `stream` for the length of the block; leaving it ends all calls and closes it.

    The body's exception leaves the block as it is, not in a group: nothing else in it can fail.

    Args:
        stream: connected to a gRPC server.
        max_message_bytes: longest message accepted, and sent.
    """
    failure: Exception | None = None
    async with stream, trio.open_nursery() as nursery:
        connection = ClientConnection(stream, max_message_bytes=max_message_bytes)
        nursery.start_soon(_run_and_close, connection)
        try:
            yield Channel(connection)
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _run_and_close(connection: ClientConnection) -> None:
    await connection.run()
    await connection.stream.aclose()  # a server that goes away may wait for it


@asynccontextmanager
async def open_unix_channel(
    path: str | os.PathLike[str], *, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> AsyncGenerator[Channel]:
    """`open_channel` to the unix socket at `path`.

    Raises:
        OSError: nobody listens there; the kernel's word, as no RPC has been made.
    """
    stream = await trio.open_unix_socket(os.fspath(path))
    async with open_channel(stream, max_message_bytes=max_message_bytes) as channel:
        yield channel
