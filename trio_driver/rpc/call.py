"""One RPC at its server: what the handler is given, and how its end becomes a status.

Owns the RPC's cancel scope: a reset, the deadline, the loss of the connection and shutdown cancel
it.

Rules:
- Whatever a handler raises ends its RPC and nothing else. `RpcError` is the status; anything else
  is UNKNOWN, is logged once with its traceback, and tells the peer nothing of our insides.
- After `reply` the RPC is over: its handler goes on, but no deadline and no reset can reach it.

Must not know: sockets, frames.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import trio
from google.protobuf.message import DecodeError, Message

from trio_driver.rpc.service import Method, StatusCode
from trio_driver.rpc.status import OK, RpcError, Status

if TYPE_CHECKING:
    from trio_driver.rpc.connection import Connection
    from trio_driver.rpc.metadata import Metadata
    from trio_driver.rpc.rpc_stream import RpcStream
    from trio_driver.rpc.server_wire import ServerWire

LOGGER = logging.getLogger("trio_driver.rpc")

M = TypeVar("M", bound=Message)


class ServerCall:
    """One RPC as its handler sees it; satisfies `Call` of the generated code.

    Attributes:
        path: `/package.Service/Method`.
        metadata: the client's, in the order sent.
        deadline: when the client stops waiting, on Trio's clock; `math.inf` when it set none.
        initial_metadata: sent with the first message.
        trailing_metadata: sent with the status.
    """

    def __init__(
        self,
        rpc_stream: RpcStream,
        connection: Connection[ServerWire],
        *,
        path: str,
        metadata: Metadata,
        deadline: float,
    ) -> None:
        self.path = path
        self.metadata = metadata
        self.deadline = deadline
        self.initial_metadata: Metadata = ()
        self.trailing_metadata: Metadata = ()
        self.scope = trio.CancelScope(deadline=deadline)
        """Cancelling it cancels the handler."""
        self.rpc_stream = rpc_stream
        self._connection = connection
        self._has_replied = False

    async def reply(self, message: Message) -> None:
        """Answer with `message` and OK, and wait until both are written.

        Returns once headers, message and trailers have been accepted by the connection's socket.
        What the peer did with them is not known. The handler then returns None.

        Raises:
            trio.BrokenResourceError: the connection broke before all of it was written.
            RpcError: the message is too long.
            RuntimeError: the RPC has been answered.

        If cancelled before everything is queued, the client sees no success. From then on a
        cancellation is ignored: within `connection.FLUSH_LIMIT_S` this returns or raises
        `BrokenResourceError`.
        """
        await self._send(message)
        self._has_replied = True
        self.scope.deadline = math.inf
        self._connection.wire.send_status(self.rpc_stream.stream_id, OK, self.trailing_metadata)
        await self._connection.wait_written()

    async def run(self, method: Method) -> None:
        """Run the method's handler and send the status that it ends with.

        If the RPC alone is cancelled this returns; a cancellation from outside goes on.
        """
        status = OK
        try:
            with self.scope:
                await self._run_handler(method)
        # With a star: what else is in a group, a cancellation from outside, goes on.
        except* Exception as errors:
            status = self._status_of(errors)
        if self.scope.cancelled_caught:  # by a reset there is nobody to tell, and this is not sent
            status = Status(StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
        self._end(status)

    async def _run_handler(self, method: Method) -> None:
        if method.streams_input:
            argument: Any = Inputs(self.rpc_stream, method.request_type)
        else:
            argument = await self._receive_only(method.request_type)
        answer = method.function(argument, request=self)
        if method.streams_output:
            async with closing(answer) as messages:
                async for message in messages:
                    await self._send(message)
        elif (message := await answer) is not None:
            await self._send(message)
        elif not self._has_replied:
            raise RuntimeError(f"{self.path}: the handler gave no answer")

    async def _receive_only(self, request_type: type[M]) -> M:
        # The end of the input is not waited for: a second message would be the client's mistake,
        # and harmless.
        payload = await self.rpc_stream.receive()
        if payload is None:
            raise RpcError(StatusCode.INTERNAL, "the request has no message")
        return parse(request_type, payload)

    async def _send(self, message: Message) -> None:
        if self._has_replied:
            raise RuntimeError(f"{self.path} has been answered")
        payload = message.SerializeToString()
        stream_id = self.rpc_stream.stream_id
        self._connection.wire.send_response_headers(stream_id, self.initial_metadata)
        await self.rpc_stream.send(payload)

    def _end(self, status: Status) -> None:
        wire, stream_id = self._connection.wire, self.rpc_stream.stream_id
        try:
            wire.send_status(stream_id, status, self.trailing_metadata)
        except ValueError as error:
            LOGGER.error("%s: trailing metadata cannot be sent: %s", self.path, error)
            wire.send_status(stream_id, Status(StatusCode.INTERNAL, "unsendable metadata"))
        self.rpc_stream.end_output()

    def _status_of(self, errors: ExceptionGroup) -> Status:
        """The status that `errors` stand for; logs what is a bug."""
        status: Status | None = None
        is_bug = False
        for leaf in _leaves(errors):
            match leaf:
                case RpcError() if not self._has_replied:
                    status = status or leaf.status
                case NotImplementedError():
                    message = f"{self.path} is not implemented"
                    status = status or Status(StatusCode.UNIMPLEMENTED, message)
                case trio.BrokenResourceError() if self.rpc_stream.is_output_over:
                    pass  # the RPC was over before its handler: nobody is left to tell
                case trio.BrokenResourceError() if self._connection.is_broken:
                    pass
                case _:
                    is_bug = True
        if is_bug:
            only = errors.exceptions[0] if len(errors.exceptions) == 1 else errors
            LOGGER.error("%s: the handler failed", self.path, exc_info=only)
        return status or Status(StatusCode.UNKNOWN, f"{self.path}: unexpected error")


class Inputs(Generic[M]):
    """The client's messages as an async iterator; ends when the client half-closes.

    A class, not an async generator: nobody has to close it.
    """

    def __init__(self, rpc_stream: RpcStream, message_type: type[M]) -> None:
        self._rpc_stream = rpc_stream
        self._message_type = message_type

    def __aiter__(self) -> Inputs[M]:
        return self

    async def __anext__(self) -> M:
        """The next message.

        Raises:
            RpcError: what came cannot be read.
        """
        payload = await self._rpc_stream.receive()
        if payload is None:
            raise StopAsyncIteration
        return parse(self._message_type, payload)


def closing(messages: object) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
    """`messages` for the length of the block, closed at its end if they can be.

    An async generator that is not used up would run its `finally` some time later, and nowhere. A context manager that
    gives the messages is entered: what it opens is open while they are iterated over.
    """
    if isinstance(messages, AbstractAsyncContextManager):
        return cast("AbstractAsyncContextManager[AsyncIterator[Any]]", messages)
    known = cast("Any", messages)
    return aclosing(known) if hasattr(messages, "aclose") else nullcontext(known)


def parse(message_type: type[M], payload: bytes) -> M:
    """The message in `payload`.

    Raises:
        RpcError: INTERNAL, it is not one of `message_type`.
    """
    try:
        return message_type.FromString(payload)
    except DecodeError as error:
        name = message_type.DESCRIPTOR.full_name
        raise RpcError(StatusCode.INTERNAL, f"cannot parse a {name}") from error


def _leaves(errors: ExceptionGroup) -> Iterator[Exception]:
    for error in errors.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(cast("ExceptionGroup", error))
        else:
            yield error
