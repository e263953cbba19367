"""The server's end of the wire: requests in, responses out.

Rules:
- A request that is not gRPC, or not well-formed gRPC, is refused on its own stream and never
  becomes an RPC.
- A stream is not over before the client's side of it is: after an early status comes
  RST_STREAM(NO_ERROR).

Source: gRPC over HTTP2, sections Requests, Responses and Errors.
"""

from __future__ import annotations

from typing import Any

import h2.events

from trio_driver.rpc import events as ev
from trio_driver.rpc import metadata as md
from trio_driver.rpc.frames import (
    CANCEL,
    MAX_HEADER_LIST_BYTES,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
)
from trio_driver.rpc.messages import MessageReader
from trio_driver.rpc.service import StatusCode
from trio_driver.rpc.status import RpcError, Status, encode_status
from trio_driver.rpc.wire import Wire
from trio_driver.rpc.wire_stream import WireStream

MAX_CONCURRENT_STREAMS = 16_384
"""RPCs at a time on one connection; above it an agent, with several a task, waits for ever."""

_RESPONSE_HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_ACCEPTED_ENCODINGS = (b"grpc-accept-encoding", b"identity,deflate,gzip")
_PSEUDO_FIELDS = (b":method", b":path", b":scheme")


class _BrokenRequest(Exception):
    """The request is not even HTTP; its stream is reset."""


class _NotGrpc(Exception):
    """The request is HTTP, but not gRPC; answered with an HTTP status."""

    def __init__(self, http_status: bytes) -> None:
        super().__init__(http_status)
        self.http_status = http_status


class ServerWire(Wire):
    """A server's connection."""

    def __init__(self, *, max_message_bytes: int) -> None:
        super().__init__(
            client_side=False,
            max_concurrent=MAX_CONCURRENT_STREAMS,
            max_message_bytes=max_message_bytes,
        )
        self.h2_handlers[h2.events.RequestReceived] = self._on_request

    def send_response_headers(self, stream_id: int, metadata: md.Metadata) -> None:
        """Begin the answer; does nothing when it has begun, or the stream is over.

        Raises:
            ValueError: the metadata cannot be sent.
        """
        stream = self.streams.get(stream_id)
        if stream is not None and not stream.headers_done:
            fields = md.encode_metadata(metadata)
            stream.headers_done = True
            self.send_headers(stream_id, _RESPONSE_HEADERS + fields, end=False)

    def send_status(self, stream_id: int, status: Status, metadata: md.Metadata = ()) -> None:
        """End the RPC; does nothing when it is over.

        A message that is framed in part can only be followed by a reset.

        Raises:
            ValueError: the metadata cannot be sent.
        """
        stream = self.streams.get(stream_id)
        if stream is None or not stream.is_sending:
            return
        trailers = encode_status(status) + md.encode_metadata(metadata)
        if stream.pending and stream.pending_at:
            self.reset(stream_id, CANCEL)
            return
        if not stream.headers_done:
            trailers = [*_RESPONSE_HEADERS, _ACCEPTED_ENCODINGS, *trailers]
        self._end(stream_id, trailers)

    def on_input_ended(self, stream_id: int, stream: WireStream, happened: list[ev.Event]) -> None:
        """The client half-closed."""
        happened.append(ev.InputEnded(stream_id))

    def _on_request(self, event: Any, happened: list[ev.Event]) -> None:
        stream_id: int = event.stream_id
        if self.is_going_away:
            self.h2.reset_stream(stream_id, REFUSED_STREAM)
            self.h2.forget(stream_id)
            self.collect()
            return
        stream = self.streams[stream_id] = WireStream()
        stream.opened_at = self.now
        stream.is_receiving = event.stream_ended is None
        try:
            request, encoding = _read_request(stream_id, event.headers)
            stream.reader = MessageReader(
                encoding, max_message_bytes=self.max_message_bytes, budget=self.budget
            )
            headers_bytes = md.header_list_bytes(event.headers)
            self.budget.take(headers_bytes)
            stream.headers_bytes = headers_bytes
        except _BrokenRequest:
            self.reset(stream_id, PROTOCOL_ERROR)
        except _NotGrpc as refusal:
            self._end(stream_id, [(b":status", refusal.http_status)])
        except RpcError as error:
            self.send_status(stream_id, error.status)
        else:
            happened.append(request)

    def _end(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.send_headers(stream_id, headers, end=True)
        self.reset(stream_id, NO_ERROR)  # if the client is still sending


def _read_request(
    stream_id: int, headers: list[tuple[bytes, bytes]]
) -> tuple[ev.RequestReceived, bytes]:
    """The request in `headers`, and the encoding of its messages.

    Raises:
        _BrokenRequest, _NotGrpc, RpcError: see there; the last one becomes the status of the RPC.
    """
    if any(sum(name == field for name, _ in headers) != 1 for field in _PSEUDO_FIELDS):
        raise _BrokenRequest
    if md.find(headers, b":method") != b"POST":
        raise _NotGrpc(b"405")
    if not (md.find(headers, b"content-type") or b"").startswith(b"application/grpc"):
        raise _NotGrpc(b"415")
    if md.header_list_bytes(headers) > MAX_HEADER_LIST_BYTES:
        raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "too much metadata")
    timeout = md.find(headers, b"grpc-timeout")
    try:
        request = ev.RequestReceived(
            stream_id,
            (md.find(headers, b":path") or b"").decode("latin-1"),
            md.decode_metadata(headers),
            None if timeout is None else md.parse_timeout(timeout),
        )
    except md.MetadataError as error:
        raise RpcError(StatusCode.INTERNAL, str(error)) from error
    return request, md.find(headers, b"grpc-encoding") or b"identity"
