"""The server: services on connections, connections on listeners.

Owns what it is given to serve: streams and listeners are closed when serving them ends. Rules:
- One connection is a nursery, one RPC a cancel scope in it.
- A connection, however bad, ends neither its listener nor another connection.

Must not know: what the services do.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping

import trio
from trio_util import AsyncValue

from trio_driver.rpc import events as ev
from trio_driver.rpc.call import ServerCall
from trio_driver.rpc.connection import Connection
from trio_driver.rpc.messages import MAX_MESSAGE_BYTES
from trio_driver.rpc.rpc_stream import RpcStream
from trio_driver.rpc.server_wire import ServerWire
from trio_driver.rpc.service import Method, Servicer, StatusCode, methods_of
from trio_driver.rpc.status import Status

LOGGER = logging.getLogger("trio_driver.rpc")

GREETING_LIMIT_S = 20.0
"""Seconds in which a client has to send its preface and settings; it has them ready."""


class ServerConnection(Connection[ServerWire]):
    """One client's connection."""

    def __init__(
        self, stream: trio.abc.Stream, methods: Mapping[str, Method], *, max_message_bytes: int
    ) -> None:
        super().__init__(stream, ServerWire(max_message_bytes=max_message_bytes))
        self._methods = methods
        self._calls: dict[int, ServerCall] = {}
        self._running = 0
        """Handlers that have not ended; a reset RPC's is one of them until it has."""
        self._is_draining = False

    def drain(self) -> None:
        """Refuse new RPCs; the connection ends after those that run."""
        if not self._is_draining:
            self._is_draining = True
            self.wire.go_away()
            self.wake_writer()
            self._end_if_drained()

    async def serve(self) -> None:
        """Run the handlers that the client asks for until it closes, or the drain is complete."""
        self.reading.deadline = trio.current_time() + GREETING_LIMIT_S
        async with trio.open_nursery() as self._nursery:
            await self.read()
            self._nursery.cancel_scope.cancel()
            for rpc_stream in self.rpc_streams.values():  # for handlers that shield themselves
                rpc_stream.end_input(Status(StatusCode.CANCELLED, "the connection is closed"))
                rpc_stream.end_output()
        if self.failure is not None:
            LOGGER.warning("a connection is closed: %s", self.failure)

    def on_event(self, event: ev.Event) -> None:
        """Act on what the client did."""
        match event:
            case ev.LimitsChanged() if not self.is_broken:  # the greeting, or later settings
                self.reading.deadline = math.inf
            case ev.RequestReceived():
                self._start(event)
            case ev.InputEnded(stream_id):
                if call := self._calls.get(stream_id):
                    call.rpc_stream.end_input()
            case ev.InputFailed(stream_id, status):
                if call := self._calls.get(stream_id):
                    call.rpc_stream.end_input(status)
            case ev.StreamReset(stream_id):
                if call := self._calls.get(stream_id):
                    # The scope first: the handler is to see a cancellation, not an error.
                    call.scope.cancel()
                    call.rpc_stream.end_input(Status(StatusCode.CANCELLED))
                    call.rpc_stream.end_output()
            case _:
                super().on_event(event)

    def _start(self, request: ev.RequestReceived) -> None:
        stream_id = request.stream_id
        method = self._methods.get(request.path)
        if method is None:
            message = f"{request.path} is not served here"
            self.wire.send_status(stream_id, Status(StatusCode.UNIMPLEMENTED, message))
            return
        rpc_stream = RpcStream(stream_id, self.wire, self)
        call = ServerCall(
            rpc_stream,
            self,
            path=request.path,
            metadata=request.metadata,
            deadline=math.inf
            if request.timeout_s is None
            else trio.current_time() + request.timeout_s,
        )
        self.rpc_streams[stream_id] = rpc_stream
        self._calls[stream_id] = call
        self._running += 1
        self._nursery.start_soon(self._run_call, call, method, name=request.path)

    async def _run_call(self, call: ServerCall, method: Method) -> None:
        try:
            await call.run(method)
        finally:
            del self._calls[call.rpc_stream.stream_id]
            self.rpc_streams.pop(call.rpc_stream.stream_id).close()
            self._running -= 1
            self.wake_writer()
            self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._is_draining and not self._running:
            self.reading.cancel()


class Server:
    """Serves `servicers` on any number of connections.

    Args:
        servicers: what generated code declares and an author fills in.
        max_message_bytes: longest message accepted, and sent.

    Raises:
        ValueError: two servicers have a method of the same path.

    Attributes:
        connections: how many are open.
    """

    def __init__(
        self, servicers: Iterable[Servicer], *, max_message_bytes: int = MAX_MESSAGE_BYTES
    ) -> None:
        self.connections = AsyncValue(0)
        self._methods = methods_of(servicers)
        self._max_message_bytes = max_message_bytes
        self._open: set[ServerConnection] = set()
        self._accepting: set[trio.CancelScope] = set()
        self._is_draining = False

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until the client closes it, or a drain is complete; closes `stream`.

        If cancelled, its RPCs are cancelled and the connection is closed at once.
        """
        async with stream:
            connection = ServerConnection(
                stream, self._methods, max_message_bytes=self._max_message_bytes
            )
            if self._is_draining:
                connection.drain()
            self._open.add(connection)
            self.connections.value += 1
            try:
                await connection.run()
            finally:
                self._open.remove(connection)
                self.connections.value -= 1

    async def serve_listener(
        self,
        listener: trio.SocketListener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections and serve them until drained; closes `listener`.

        Started at once: clients can connect since the listener exists.

        If cancelled, all its connections are closed at once.
        """
        async with trio.open_nursery() as connections:
            with trio.CancelScope() as accepting:
                self._accepting.add(accepting)
                if self._is_draining:
                    accepting.cancel()
                task_status.started()
                try:
                    await trio.serve_listeners(
                        self._serve_accepted, [listener], handler_nursery=connections
                    )
                finally:
                    self._accepting.remove(accepting)

    def drain(self) -> None:
        """Refuse connections and RPCs from now on; serving returns when those that run have ended."""
        self._is_draining = True
        for accepting in self._accepting:
            accepting.cancel()
        for connection in list(self._open):
            connection.drain()

    async def _serve_accepted(self, stream: trio.SocketStream) -> None:
        try:
            await self.serve_stream(stream)
        except Exception:
            LOGGER.exception("a connection failed")
