"""The client's end of the wire: requests out, responses in.

Rules:
- However an answer ends, exactly one `StatusReceived` or `StreamReset` is told for it.
- A server may answer before the client has sent everything; what is left of the stream is then
  reset.

Source: gRPC over HTTP2, sections Requests, Responses and Errors.
"""

from __future__ import annotations

from typing import Any

import h2.events

from trio_driver.rpc import events as ev
from trio_driver.rpc import metadata as md
from trio_driver.rpc.frames import CANCEL, NO_ERROR
from trio_driver.rpc.messages import MessageReader
from trio_driver.rpc.service import StatusCode
from trio_driver.rpc.status import RpcError, Status, decode_status, status_of_http
from trio_driver.rpc.wire import Wire
from trio_driver.rpc.wire_stream import WireStream

USER_AGENT = b"trio-driver"


class ClientWire(Wire):
    """A client's connection."""

    def __init__(self, *, max_message_bytes: int) -> None:
        super().__init__(client_side=True, max_concurrent=0, max_message_bytes=max_message_bytes)
        self.h2_handlers[h2.events.ResponseReceived] = self._on_response
        self.h2_handlers[h2.events.TrailersReceived] = self._on_trailers

    @property
    def is_full(self) -> bool:
        """Whether the server allows no further RPC for now."""
        limit: int = self.h2.remote_settings.max_concurrent_streams
        return len(self.streams) >= limit

    def send_request(self, path: str, metadata: md.Metadata, timeout_s: float | None) -> int:
        """Open an RPC and give its stream id. Not while `is_full`.

        Raises:
            ValueError: the metadata cannot be sent.
        """
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", USER_AGENT),
            (b"grpc-accept-encoding", b"identity,deflate,gzip"),
        ]
        if timeout_s is not None:
            headers.append((b"grpc-timeout", md.encode_timeout(timeout_s)))
        headers += md.encode_metadata(metadata)
        stream_id: int = self.h2.get_next_available_stream_id()
        self.streams[stream_id] = WireStream()
        self.send_headers(stream_id, headers, end=False)
        return stream_id

    def on_input_ended(self, stream_id: int, stream: WireStream, happened: list[ev.Event]) -> None:
        """The server ended the stream; if that was not by trailers, there was no status."""
        if not stream.is_status_known:
            self._tell_status(stream_id, decode_status(()), (), happened)
        self.reset(stream_id, NO_ERROR)  # if we are still sending

    def _on_response(self, event: Any, happened: list[ev.Event]) -> None:
        stream_id: int = event.stream_id
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        stream.is_receiving = event.stream_ended is None
        headers: list[tuple[bytes, bytes]] = event.headers
        content_type = md.find(headers, b"content-type") or b""
        http_status = md.find(headers, b":status") or b""
        is_grpc = http_status == b"200" and content_type.startswith(b"application/grpc")
        if not is_grpc and md.find(headers, b"grpc-status") is None:
            self._refuse(stream_id, status_of_http(http_status), happened)
            return
        stream.headers_done = True
        if event.stream_ended is not None:
            self._on_trailers(event, happened)
            return
        encoding = md.find(headers, b"grpc-encoding") or b"identity"
        try:
            metadata = md.decode_metadata(headers)
            stream.reader = MessageReader(
                encoding, max_message_bytes=self.max_message_bytes, budget=self.budget
            )
        except md.MetadataError as error:
            self._refuse(stream_id, Status(StatusCode.INTERNAL, str(error)), happened)
        except RpcError as error:
            self._refuse(stream_id, error.status, happened)
        else:
            happened.append(ev.ResponseReceived(stream_id, metadata))

    def _on_trailers(self, event: Any, happened: list[ev.Event]) -> None:
        try:
            metadata = md.decode_metadata(event.headers)
        except md.MetadataError:
            metadata = ()  # the status counts for more
        self._tell_status(event.stream_id, decode_status(event.headers), metadata, happened)

    def _tell_status(
        self, stream_id: int, status: Status, metadata: md.Metadata, happened: list[ev.Event]
    ) -> None:
        stream = self.streams.get(stream_id)
        if stream is None or stream.is_status_known:
            return
        stream.is_status_known = True
        if stream.reader is not None and not stream.reader.is_between_messages:
            status = Status(StatusCode.INTERNAL, "the last message was truncated")
        stream.stop_reading()
        happened.append(ev.StatusReceived(stream_id, status, metadata))

    def _refuse(self, stream_id: int, status: Status, happened: list[ev.Event]) -> None:
        """The server's answer is not one: the RPC ends here."""
        self._tell_status(stream_id, status, (), happened)
        self.reset(stream_id, CANCEL)
