"""One connection: a stream of bytes, the wire, a task that reads and a task that writes.

Owns the socket's two directions. Rules:
- Only the writer task sends, whole frames in order, so that a cancelled RPC cannot tear a frame.
- The reader never waits for an RPC; it stops reading while `MAX_OUTPUT_BYTES` of output are not
  written.
- Neither task raises for what the peer or the network does: a connection ends, it does not fail.
- What must still be said when everything else is over (a status, GOAWAY) gets `FLUSH_LIMIT_S`, not
  more.

Must not know: which end it is, messages' types, services.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import trio

from trio_driver.rpc import events as ev
from trio_driver.rpc.messages import held_bytes
from trio_driver.rpc.rpc_stream import RpcStream
from trio_driver.rpc.wire import Wire

READ_BYTES = 32_768
"""Bytes read at a time."""

SLICE_BYTES = 8_192
"""Bytes taken at a time: how long one connection's frames keep the others waiting; as small frames
they are a few hundred requests."""

MAX_OUTPUT_BYTES = 1_048_576
"""Answers to control frames and statuses that may wait for a peer that does not read."""

FLUSH_LIMIT_S = 1.0
"""Seconds in which a peer has to take the last bytes."""

W = TypeVar("W", bound=Wire)


class Connection(Generic[W]):
    """The half that client and server have in common. See the module's rules."""

    def __init__(self, stream: trio.abc.Stream, wire: W) -> None:
        self.stream = stream
        self.wire = wire
        self.rpc_streams: dict[int, RpcStream] = {}
        self.failure: str | None = None
        """What the peer did wrong, when that ended the connection."""
        self.is_broken = False
        """Nothing can be written any more."""
        self.reading = trio.CancelScope()
        """Cancelled when there is no more to read for."""
        self._writing = trio.CancelScope()
        self._taken_bytes = 0
        """Output handed to the stream so far; `_written_bytes` of it have been accepted."""
        self._written_bytes = 0
        self._output_ready = trio.lowlevel.ParkingLot()
        self._progress = trio.lowlevel.ParkingLot()
        """Unparked after every write, and when the writer has ended."""
        self._waiting_for_written: list[trio.lowlevel.Task] = []

    async def run(self) -> None:
        """Serve the connection until it is over; the stream stays open.

        If cancelled, RPCs are cancelled and output that is not written is lost.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_loop)
            await self.serve()
            with trio.move_on_after(FLUSH_LIMIT_S):
                await self._flush()
            nursery.cancel_scope.cancel()

    async def serve(self) -> None:
        """Read, and do what this end is for; returns when the connection is over."""
        raise NotImplementedError

    def on_event(self, event: ev.Event) -> None:
        """Act on what the peer did."""
        match event:
            case ev.MessageReceived(stream_id, payload):
                if rpc := self.rpc_streams.get(stream_id):
                    rpc.deliver(payload)
                else:
                    self.wire.budget.give_back(held_bytes(payload))
            case ev.SendingUnblocked(stream_id):
                if rpc := self.rpc_streams.get(stream_id):
                    rpc.wake_sender()
            case ev.ConnectionFailed(reason):
                self.failure = reason
            case _:
                pass

    async def read(self) -> None:
        """Read until the peer closes, breaks HTTP/2, or there is no more to read for."""
        with self.reading:
            while True:
                try:
                    data = await self.stream.receive_some(READ_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                if not data:
                    return
                for start in range(0, len(data), SLICE_BYTES):
                    if start:
                        await trio.lowlevel.checkpoint()
                    self._take(bytes(data[start : start + SLICE_BYTES]))
                    if self.failure is not None:
                        return  # at once: nobody may send on what is left
                while len(self.wire.output) > MAX_OUTPUT_BYTES and not self.is_broken:
                    await self._progress.park()

    def _take(self, data: bytes) -> None:
        for event in self.wire.receive(data, trio.current_time()):
            self.on_event(event)
        self.wake_writer()

    def wake_writer(self) -> None:
        """There is output."""
        if self._output_ready:
            self._output_ready.unpark()

    async def wait_written(self) -> None:
        """Wait until all output that is queued now has been accepted by the stream's `send_all`.

        Raises:
            trio.BrokenResourceError: some of it was not.

        Not cancellable: what is queued may be with the peer already, and whoever waits must learn
        that. A cancellation leaves the writer `FLUSH_LIMIT_S` for what it is sending; then the
        connection breaks.
        """
        position = self._taken_bytes + len(self.wire.output)
        self.wake_writer()
        while self._written_bytes < position:
            if self.is_broken:
                raise trio.BrokenResourceError("the connection broke before all was written")
            self._waiting_for_written.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(self._refuse_abort)

    def _refuse_abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._writing.deadline = min(self._writing.deadline, trio.current_time() + FLUSH_LIMIT_S)
        return trio.lowlevel.Abort.FAILED

    async def _flush(self) -> None:
        while (self.wire.output or self._written_bytes < self._taken_bytes) and not self.is_broken:
            self.wake_writer()
            await self._progress.park()

    async def _write_loop(self) -> None:
        try:
            with self._writing:
                while True:
                    await self._write_output()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.is_broken = True
            # What the peer sent before it closed may still be read; a peer that only stopped
            # reading is given up.
            self.reading.deadline = trio.current_time() + FLUSH_LIMIT_S
            self._tell_progress()

    async def _write_output(self) -> None:
        while not self.wire.output:
            await self._output_ready.park()
        output = self.wire.take_output()
        self._taken_bytes += len(output)
        for stream_id in self.wire.pump():
            self.on_event(ev.SendingUnblocked(stream_id))
        await self.stream.send_all(output)
        self._written_bytes = self._taken_bytes
        self._writing.deadline = math.inf  # set again by those who still wait and are cancelled
        self._tell_progress()

    def _tell_progress(self) -> None:
        self._progress.unpark_all()
        waiting, self._waiting_for_written = self._waiting_for_written, []
        for task in waiting:
            trio.lowlevel.reschedule(task)
