"""The messages of one RPC, both ways, with waiting: what calls of servers and clients are made of.

Owns the messages that have arrived and are not read. Rules:
- What has arrived is read before the end, or an error, is.
- A cancelled read loses no message; a cancelled write may have queued its message.
- Neither direction can starve the loop: every `MESSAGES_PER_CHECKPOINT`-th message is a checkpoint.

Must not know: messages' types, deadlines, which end it is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import trio

from trio_driver.rpc.messages import held_bytes
from trio_driver.rpc.service import StatusCode
from trio_driver.rpc.status import RpcError, Status

if TYPE_CHECKING:
    from trio_driver.rpc.messages import Payload
    from trio_driver.rpc.wire import Wire

MESSAGES_PER_CHECKPOINT = 16
"""Messages that pass without giving other tasks a turn: fast, and 1-2 ms of lag at most."""


class Waker(Protocol):
    """The connection, as far as a stream needs it."""

    def wake_writer(self) -> None:
        """There is output."""


class RpcStream:
    """The two directions of the RPC `stream_id`."""

    def __init__(self, stream_id: int, wire: Wire, waker: Waker) -> None:
        self.stream_id = stream_id
        self._wire = wire
        self._waker = waker
        self._inbox: deque[Payload] = deque()
        self.is_input_over = False
        self.error: Status | None = None
        """Why the input ended, when not by its end."""
        self.is_output_over = False
        self._readers = trio.lowlevel.ParkingLot()
        self._senders = trio.lowlevel.ParkingLot()
        self._passed = 0

    # told by the connection

    def deliver(self, payload: Payload) -> None:
        """A message has arrived."""
        self._inbox.append(payload)
        if self._readers:
            self._readers.unpark()

    def end_input(self, error: Status | None = None) -> None:
        """No more messages will arrive; reads then raise `error`, if any. The first end counts."""
        if not self.is_input_over:
            self.is_input_over = True
            self.error = error
            self._readers.unpark_all()

    def end_output(self) -> None:
        """Nothing can be sent any more."""
        self.is_output_over = True
        self._senders.unpark_all()

    def wake_sender(self) -> None:
        """What was waiting for room is framed."""
        self._senders.unpark_all()

    # used by calls

    def close(self) -> None:
        """The RPC's user has left: what has arrived is not going to be read."""
        for payload in self._inbox:
            self._wire.budget.give_back(held_bytes(payload))
        self._inbox.clear()

    async def receive(self) -> bytes | None:
        """The next message; None after the last one.

        Raises:
            RpcError: the input ended with an error, or a compressed message cannot be read.
        """
        await self._checkpoint()
        while not self._inbox:
            if self.is_input_over:
                if self.error is not None:
                    raise RpcError.of(self.error)
                return None
            self._wire.want(self.stream_id)
            self._waker.wake_writer()
            await self._readers.park()
        payload = self._inbox.popleft()
        self._wire.budget.give_back(held_bytes(payload))
        return payload if isinstance(payload, bytes) else payload.decompress()

    async def send(self, payload: bytes, *, end: bool = False) -> None:
        """Send a message; waits until all of it is framed, which the peer's window may delay.

        Args:
            payload: the message.
            end: nothing follows it.

        Raises:
            RpcError: RESOURCE_EXHAUSTED when the message is longer than our own limit.
            trio.BrokenResourceError: the RPC is over.

        If cancelled while it waits, the message is still going to be sent.
        """
        limit = self._wire.max_message_bytes
        if len(payload) > limit:
            raise RpcError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"message of {len(payload)} bytes; the limit is {limit}",
            )
        await self._checkpoint()
        await self._wait_sendable()
        is_framed = self._wire.send_message(self.stream_id, payload, end=end)
        self._waker.wake_writer()
        if not is_framed:
            await self._wait_sendable()

    async def end_sending(self) -> None:
        """Half-close: no message follows. Does nothing when the RPC is over."""
        await self._checkpoint()
        while self._wire.is_blocked(self.stream_id) and not self.is_output_over:
            await self._senders.park()
        self._wire.end_sending(self.stream_id)
        self._waker.wake_writer()

    async def _wait_sendable(self) -> None:
        while self._wire.is_blocked(self.stream_id) and not self.is_output_over:
            await self._senders.park()
        if self.is_output_over:
            raise trio.BrokenResourceError("the RPC is over")

    async def _checkpoint(self) -> None:
        self._passed += 1
        if self._passed % MESSAGES_PER_CHECKPOINT:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
