"""One HTTP/2 connection that carries gRPC, without I/O: bytes in and out, messages and events.

Owns h2's connection, the streams that are open, and the output that is not taken yet. `server_wire`
and `client_wire` add what differs between the two ends.

Rules:
- Every frame is looked at here before h2 sees it. GOAWAY never reaches h2, and is never written by
  it: stock h2 takes the connection for closed and drops queued output. Frames for streams that are
  gone are accounted for and dropped: to h2 they would be errors of the connection.
- The connection's window is credited on receipt, a stream's only while its reader waits for a
  message: what a reader does not read is at most `STREAM_WINDOW_BYTES`, and no stream can block the
  others.
- DATA is framed only while less than `OUTPUT_HIGH_BYTES` are waiting to be written.
- What a peer sent wrong on a stream ends that stream; what breaks the connection is the event
  `ConnectionFailed`.

Must not know: sockets, tasks, time (but for `now`), protobuf.

Not chosen: a subclass of purerpc's GRPCConnection. All but its header names would have had to be
overridden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h2.events
import h2.exceptions

from trio_driver.rpc import events as ev
from trio_driver.rpc.budget import budget_for
from trio_driver.rpc.floods import RAPID_RESET_S, Floods
from trio_driver.rpc.frames import (
    NO_ERROR,
    PROTOCOL_ERROR,
    Frame,
    FrameCutter,
    FrameKind,
    WireError,
    decode_goaway,
    encode_frame,
    encode_goaway,
)
from trio_driver.rpc.h2_connection import (
    CONNECTION_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
    open_h2,
)
from trio_driver.rpc.messages import encode_message
from trio_driver.rpc.service import StatusCode
from trio_driver.rpc.status import RpcError, Status
from trio_driver.rpc.wire_stream import WireStream

OUTPUT_HIGH_BYTES = 131_072
"""Output waiting to be written, above which no more DATA is framed."""

MAX_DATA_FRAME_BYTES = 65_536
"""Largest DATA frame that we send, should the peer allow more: a frame is the unit of fairness."""


MAX_REASON_CHARS = 200
"""Of h2's words on what was wrong; they may hold all that the peer sent."""


class Wire:
    """The half that client and server have in common. See the module's rules."""

    def __init__(self, *, client_side: bool, max_concurrent: int, max_message_bytes: int) -> None:
        self.max_message_bytes = max_message_bytes
        self.budget = budget_for(max_message_bytes)
        self.streams: dict[int, WireStream] = {}
        self.output = bytearray()
        """Whole frames that wait to be written."""
        self.is_going_away = False
        self._is_over = False
        self._sendable: dict[int, None] = {}
        """Streams with a pending message, but for those that wait for a WINDOW_UPDATE of their own;
        the next to be served first."""
        self._is_pump_due = False
        self._cutter = FrameCutter(expect_preface=not client_side)
        self._uncredited_bytes = 0
        self._uncredited_stray_bytes = 0
        self._floods = Floods()
        self.now = 0.0
        """When the bytes that are being taken came."""
        self.h2: Any = open_h2(client_side=client_side, max_concurrent=max_concurrent)
        self.collect()
        self.h2_handlers: dict[type, Callable[[Any, list[ev.Event]], None]] = {
            h2.events.DataReceived: self._on_data,
            h2.events.StreamEnded: self._on_stream_ended,
            h2.events.StreamReset: self._on_stream_reset,
            h2.events.WindowUpdated: self._on_window_updated,
            h2.events.RemoteSettingsChanged: self._on_settings,
        }

    # bytes

    def receive(self, data: bytes, now: float) -> list[ev.Event]:
        """Take bytes from the peer at `now` (monotonic, in seconds) and give what they mean.

        Never raises for anything a peer can send. After `ConnectionFailed` all input is ignored.
        """
        happened: list[ev.Event] = []
        if self._is_over:
            return happened
        self.now = now
        try:
            for frame in self._cutter.cut(data):
                self._take_frame(frame, happened)
        except WireError as error:
            self._is_over = True
            self._sendable.clear()
            for stream in self.streams.values():
                self._release(stream)
            self.streams.clear()  # h2 takes nothing more
            self.go_away(error.code, error.reason)
            happened.append(ev.ConnectionFailed(error.reason))
        happened.extend(ev.SendingUnblocked(stream_id) for stream_id in self.pump())
        return happened

    def take_output(self) -> bytes:
        """All that waits to be written: whole frames, in order. Call `pump` afterwards."""
        output = bytes(self.output)
        self.output.clear()
        self._is_pump_due = True
        return output

    def pump(self) -> list[int]:
        """Frame what now has room; give the streams whose message is framed as a whole."""
        drained: list[int] = []
        if not self._is_pump_due:
            return drained
        self._is_pump_due = False
        while self._sendable and self._has_room:
            stream_id = next(iter(self._sendable))
            del self._sendable[stream_id]
            if self._frame_pending(stream_id):
                if self.streams[stream_id].pending:
                    self._sendable[stream_id] = None  # at the end: the others first
                else:
                    drained.append(stream_id)
                    self._forget_if_over(stream_id)
        return drained

    def collect(self) -> None:
        """Append what h2 has written to the output."""
        self.output += self.h2.data_to_send()

    def go_away(self, code: int = NO_ERROR, reason: str = "") -> None:
        """Tell the peer that no new stream will be worked on; streams that are open go on."""
        self.is_going_away = True
        self.output += encode_goaway(self.h2.highest_inbound_stream_id, code, reason)

    # streams

    def send_message(self, stream_id: int, payload: bytes, *, end: bool = False) -> bool:
        """Frame a message as far as there is room.

        Args:
            stream_id: a stream on which nothing is pending.
            payload: the message.
            end: nothing follows it.

        Returns:
            Whether all of it is framed; otherwise `pump` will name the stream.
        """
        stream = self.streams[stream_id]
        stream.pending = encode_message(payload)
        stream.pending_at = 0
        stream.end_after_pending = end
        self._floods.forgive()
        while stream.pending and self._has_room and self._frame_pending(stream_id):
            pass
        if stream.pending:
            self._sendable[stream_id] = None
            return False
        self._forget_if_over(stream_id)
        return True

    def is_blocked(self, stream_id: int) -> bool:
        """Whether a message of this stream waits for room."""
        stream = self.streams.get(stream_id)
        return stream is not None and bool(stream.pending)

    def end_sending(self, stream_id: int) -> None:
        """Half-close: no message follows. Nothing may be pending."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.is_sending:
            self.h2.end_stream(stream_id)
            self.collect()
            stream.is_sending = False
            self._forget_if_over(stream_id)

    def want(self, stream_id: int) -> None:
        """A reader waits for the next message of this stream: let the peer send it."""
        if stream := self.streams.get(stream_id):
            stream.is_wanted = True
            self._credit(stream_id, stream)

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream at once; does nothing when it is over."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        if stream.is_receiving or stream.is_sending:
            self.h2.reset_stream(stream_id, code)
            self.collect()
        self._forget(stream_id)

    def send_headers(
        self, stream_id: int, headers: list[tuple[bytes, bytes]], *, end: bool
    ) -> None:
        """Send a header block; `end` ends our side of the stream."""
        self._floods.forgive()
        self.h2.send_headers(stream_id, headers, end_stream=end)
        self.collect()
        if end:
            self.streams[stream_id].is_sending = False
            self._forget_if_over(stream_id)

    # frames

    def _take_frame(self, frame: Frame, happened: list[ev.Event]) -> None:
        self._floods.count(frame.kind, self.now)
        match frame.kind:
            case FrameKind.GOAWAY:
                happened.append(ev.GoAwayReceived(*decode_goaway(frame)))
                return
            case FrameKind.DATA | FrameKind.RST_STREAM | FrameKind.WINDOW_UPDATE:
                if frame.stream_id and frame.stream_id not in self.streams:
                    self._take_stray(frame)
                    return
            case (
                FrameKind.PING
                | FrameKind.SETTINGS
                | FrameKind.HEADERS
                | FrameKind.CONTINUATION
                | FrameKind.PUSH_PROMISE
            ):
                pass
            case _:  # PRIORITY and unknown kinds mean nothing to us
                return
        for event in self._feed(frame):
            if handler := self.h2_handlers.get(event.__class__):
                handler(event, happened)

    def _feed(self, frame: Frame) -> list[Any]:
        is_late = frame.stream_id not in self.streams and self._was_opened(frame.stream_id)
        try:
            events: list[Any] = self.h2.receive_data(frame.raw)
        except h2.exceptions.ProtocolError as error:
            self.h2.clear_outbound_data_buffer()  # its GOAWAY; ours follows
            raise WireError(int(error.error_code), _malformed(error)) from error
        except Exception as error:  # h2 3.2 lets hyperframe's and its own assertions through
            self.h2.clear_outbound_data_buffer()
            raise WireError(PROTOCOL_ERROR, _malformed(error)) from error
        if is_late:  # headers of a stream that we have reset: h2 would reset it once more
            self.h2.clear_outbound_data_buffer()
        self.collect()
        return events

    def _was_opened(self, stream_id: int) -> bool:
        highest: int = max(self.h2.highest_inbound_stream_id, self.h2.highest_outbound_stream_id)
        return 0 < stream_id <= highest

    def _take_stray(self, frame: Frame) -> None:
        """A frame for a stream that is over, or never was: it counts for the connection alone."""
        if frame.kind != FrameKind.DATA:
            return
        if not self._was_opened(frame.stream_id):
            raise WireError(PROTOCOL_ERROR, "DATA on a stream that was never opened")
        self._uncredited_stray_bytes += frame.payload_bytes
        if self._uncredited_stray_bytes >= CONNECTION_WINDOW_BYTES // 4:
            increment = self._uncredited_stray_bytes.to_bytes(4)
            self.output += encode_frame(FrameKind.WINDOW_UPDATE, 0, increment)
            self._uncredited_stray_bytes = 0

    # events of h2

    def _on_data(self, event: Any, happened: list[ev.Event]) -> None:
        stream_id: int = event.stream_id
        stream = self.streams[stream_id]
        self._uncredited_bytes += event.flow_controlled_length
        if self._uncredited_bytes >= CONNECTION_WINDOW_BYTES // 4:
            self.h2.increment_flow_control_window(self._uncredited_bytes)
            self.collect()
            self._uncredited_bytes = 0
        if not event.data and event.stream_ended is None:
            self._floods.count_empty(self.now)
        if stream.reader is None:
            return
        stream.uncredited_bytes += event.flow_controlled_length
        try:
            payloads = stream.reader.feed(event.data)
        except RpcError as error:
            stream.stop_reading()
            happened.append(ev.InputFailed(stream_id, error.status))
            return
        if payloads:
            stream.is_wanted = False
            happened.extend(ev.MessageReceived(stream_id, payload) for payload in payloads)
        elif stream.is_wanted and event.stream_ended is None:
            self._credit(stream_id, stream)

    def _on_stream_ended(self, event: Any, happened: list[ev.Event]) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        stream.is_receiving = False
        if stream.reader is not None and not stream.reader.is_between_messages:
            stream.stop_reading()
            status = Status(StatusCode.INTERNAL, "the last message was truncated")
            happened.append(ev.InputFailed(event.stream_id, status))
        self.on_input_ended(event.stream_id, stream, happened)
        self._forget_if_over(event.stream_id)

    def on_input_ended(self, stream_id: int, stream: WireStream, happened: list[ev.Event]) -> None:
        """The peer's side of a stream has ended; for the two ends to define."""
        raise NotImplementedError

    def _on_stream_reset(self, event: Any, happened: list[ev.Event]) -> None:
        if stream := self.streams.get(event.stream_id):
            if self.now - stream.opened_at < RAPID_RESET_S:
                self._floods.rapid_resets.count(self.now)
            self._forget(event.stream_id)
            happened.append(ev.StreamReset(event.stream_id, int(event.error_code or 0)))

    def _on_window_updated(self, event: Any, happened: list[ev.Event]) -> None:
        self._is_pump_due = True
        self._retry(event.stream_id)

    def _on_settings(self, event: Any, happened: list[ev.Event]) -> None:
        self._is_pump_due = True
        for stream_id in self.streams:  # their windows may have grown
            self._retry(stream_id)
        happened.append(ev.LimitsChanged())

    def _retry(self, stream_id: int) -> None:
        """The window of this stream may have grown; stream 0 is none."""
        if self.is_blocked(stream_id):
            self._sendable.setdefault(stream_id)

    # inside

    @property
    def _has_room(self) -> bool:
        window: int = self.h2.outbound_flow_control_window
        return window > 0 and len(self.output) < OUTPUT_HIGH_BYTES

    def _frame_pending(self, stream_id: int) -> bool:
        """Frame one DATA of what is pending; false when the stream's window leaves no room."""
        stream = self.streams[stream_id]
        window: int = self.h2.local_flow_control_window(stream_id)
        room = min(window, self.h2.max_outbound_frame_size, MAX_DATA_FRAME_BYTES)
        if room <= 0:
            return False
        chunk = stream.pending[stream.pending_at : stream.pending_at + room]
        stream.pending_at += len(chunk)
        if stream.pending_at == len(stream.pending):
            stream.pending = b""
        end = stream.end_after_pending and not stream.pending
        self.h2.send_data(stream_id, chunk, end_stream=end)
        self.collect()
        if end:
            stream.is_sending = False
        return True

    def _credit(self, stream_id: int, stream: WireStream) -> None:
        if stream.is_receiving and stream.uncredited_bytes >= STREAM_WINDOW_BYTES // 4:
            self.h2.increment_flow_control_window(stream.uncredited_bytes, stream_id)
            self.collect()
            stream.uncredited_bytes = 0

    def _forget_if_over(self, stream_id: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None and not (stream.is_receiving or stream.is_sending):
            self._forget(stream_id)

    def _forget(self, stream_id: int) -> None:
        self._release(self.streams.pop(stream_id))
        self._sendable.pop(stream_id, None)
        self.h2.forget(stream_id)

    def _release(self, stream: WireStream) -> None:
        stream.stop_reading()
        self.budget.give_back(stream.headers_bytes)


def _malformed(error: Exception) -> str:
    return f"malformed HTTP/2: {error or error.__class__.__name__}"[:MAX_REASON_CHARS]
