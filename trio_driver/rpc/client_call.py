"""One RPC at its client.

Owns its deadline. Rules: messages that have arrived are read before the status is; a call ends
once.

Must not know: connections, how a call is opened or reset.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Awaitable
from typing import TYPE_CHECKING, Generic, TypeVar

import trio
from google.protobuf.message import Message

from trio_driver.rpc.call import closing, parse
from trio_driver.rpc.service import StatusCode
from trio_driver.rpc.status import RpcError

if TYPE_CHECKING:
    from trio_driver.rpc.metadata import Metadata
    from trio_driver.rpc.rpc_stream import RpcStream

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)
T = TypeVar("T")


class ClientCall(Generic[Req, Resp]):
    """One RPC; iterating gives the answers. Satisfies `ClientCall` of the generated code.

    Attributes:
        initial_metadata: the server's, once its answer has begun.
        trailing_metadata: the server's, once the RPC has ended.
    """

    def __init__(
        self, rpc_stream: RpcStream, response_type: type[Resp], *, deadline: float
    ) -> None:
        self.rpc_stream = rpc_stream
        self.initial_metadata: Metadata = ()
        self.trailing_metadata: Metadata = ()
        self._response_type = response_type
        self._deadline = deadline

    async def send(self, message: Req) -> None:
        """Send one message; waits while the server grants no room.

        Raises:
            RpcError: the RPC has ended with another status than OK, or the message is too long.
            trio.BrokenResourceError: the RPC has ended with OK.

        If cancelled while it waits, the message is still going to be sent.
        """
        await self._send(message, end=False)

    async def send_only(self, message: Req) -> None:
        """Send the only message. An RPC that has ended tells why when it is read."""
        try:
            await self._send(message, end=True)
        except (RpcError, trio.BrokenResourceError):
            if not self.rpc_stream.is_output_over:
                raise

    async def done_sending(self) -> None:
        """Tell the server that no more messages follow. Does nothing when the RPC has ended."""
        await self._in_time(self.rpc_stream.end_sending())

    def __aiter__(self) -> ClientCall[Req, Resp]:
        return self

    async def __anext__(self) -> Resp:
        """The next answer; iteration ends when the RPC has ended with OK.

        Raises:
            RpcError: the RPC has ended with any other status, or its deadline has passed.
        """
        payload = await self._in_time(self.rpc_stream.receive())
        if payload is None:
            raise StopAsyncIteration
        return parse(self._response_type, payload)

    async def receive_only(self) -> Resp:
        """The only answer.

        Raises:
            RpcError: as `__anext__`; or INTERNAL, there was no answer or more than one.
        """
        payload = await self._in_time(self.rpc_stream.receive())
        if payload is None:
            raise RpcError(StatusCode.INTERNAL, "the server answered with OK, but no message")
        if await self._in_time(self.rpc_stream.receive()) is not None:
            raise RpcError(StatusCode.INTERNAL, "the server answered with more than one message")
        return parse(self._response_type, payload)

    async def exchange(self, messages: AsyncIterable[Req]) -> Resp:
        """Send `messages` until they end or the answer comes; give the answer.

        Closes `messages` if they can be closed, as a generator can.

        Raises:
            RpcError: as `receive_only`.
            Exception: whatever `messages` raises.
        """
        failures: list[Exception] = []
        answers: list[Resp] = []

        async def send_all() -> None:
            try:
                async with closing(messages):
                    async for message in messages:
                        await self.send(message)
                await self.done_sending()
            except Exception as error:
                # Once the RPC has ended the reader knows better; before, nobody else would end it.
                if not self.rpc_stream.is_output_over:
                    failures.append(error)
                    nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            try:
                answers.append(await self.receive_only())
            except RpcError as error:
                failures.append(error)
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]
        return answers[0]

    async def _send(self, message: Req, *, end: bool) -> None:
        try:
            await self._in_time(self.rpc_stream.send(message.SerializeToString(), end=end))
        except trio.BrokenResourceError:
            if self.rpc_stream.error is not None:
                raise RpcError.of(self.rpc_stream.error) from None
            raise

    async def _in_time(self, operation: Awaitable[T]) -> T:
        return await in_time(operation, deadline=self._deadline)


async def in_time(operation: Awaitable[T], *, deadline: float) -> T:
    """The operation's result, if it comes before `deadline` (on Trio's clock).

    Raises:
        RpcError: DEADLINE_EXCEEDED, it did not; it has been cancelled.
    """
    if deadline == math.inf:
        return await operation
    with trio.CancelScope(deadline=deadline):
        return await operation
    raise RpcError(StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
