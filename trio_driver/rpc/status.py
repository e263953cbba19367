"""How an RPC ends: status values, the error that carries one, and both as header fields.

Rules:
- `grpc-status-details-bin` always holds the same code as `grpc-status`; grpc-go drops the details
  otherwise.
- Whatever text an error has, what is sent is valid UTF-8, percent-encoded, and short enough for the
  default header limits of gRPC peers (8 KiB in C-core).

Must not know: streams, frames, handlers.

Source: gRPC over HTTP2, section Responses; google/rpc/status.proto; nomad-protocol 1.11.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.message import DecodeError

from trio_driver._proto import status_pb2
from trio_driver.rpc import metadata
from trio_driver.rpc.service import StatusCode

if TYPE_CHECKING:
    from trio_driver.rpc.metadata import Headers

MAX_TEXT_BYTES = 3_000
"""Longest grpc-message as encoded; with the details, which repeat it, still below 8 KiB."""

Details: TypeAlias = tuple[tuple[str, bytes], ...]
"""Pairs of type URL and serialized message, as in google.protobuf.Any."""

_UNRESERVED = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""Printable ASCII but `%`; letters and digits are never quoted."""


@dataclass(frozen=True, slots=True)
class Status:
    """The end of an RPC."""

    code: StatusCode
    message: str = ""
    details: Details = ()


OK = Status(StatusCode.OK)


class RpcError(Exception):
    """An RPC ends, or ended, with a status that is not OK.

    Raised by a handler it becomes the status of its RPC; raised by a client call it is the status
    received, or the one that the connection's loss or a deadline stands for.
    """

    def __init__(self, code: StatusCode, message: str = "", details: Details = ()) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name

    @property
    def status(self) -> Status:
        """The same as a value."""
        return Status(self.code, self.message, self.details)

    @classmethod
    def of(cls, status: Status) -> RpcError:
        """The error that carries `status`."""
        return cls(status.code, status.message, status.details)


def encode_status(status: Status) -> list[tuple[bytes, bytes]]:
    """`status` as trailer fields."""
    headers = [(b"grpc-status", b"%d" % status.code.value)]
    text = _sendable(status.message)
    if text:
        headers.append((b"grpc-message", _quote(text)))
    if status.details:
        message = status_pb2.Status(code=status.code.value, message=text)
        for type_url, value in status.details:
            message.details.add(type_url=type_url, value=value)
        packed = metadata.encode_binary(message.SerializeToString())
        headers.append((b"grpc-status-details-bin", packed))
    return headers


def decode_status(headers: Headers) -> Status:
    """The status in trailer fields; UNKNOWN when there is none.

    Details whose code differs from grpc-status, or that cannot be read, are left out.
    """
    code = _decode_code(metadata.find(headers, b"grpc-status"))
    if code is None:
        return Status(StatusCode.UNKNOWN, "the peer ended the RPC without a grpc-status")
    quoted = metadata.find(headers, b"grpc-message") or b""
    text = urllib.parse.unquote_to_bytes(quoted).decode(errors="replace")
    packed = metadata.find(headers, b"grpc-status-details-bin")
    return Status(code, text, _decode_details(packed, code) if packed else ())


def status_of_http(http_status: bytes) -> Status:
    """What an HTTP status without gRPC in it stands for.

    Source: gRPC's http-grpc-status-mapping.
    """
    code = {
        b"400": StatusCode.INTERNAL,
        b"401": StatusCode.UNAUTHENTICATED,
        b"403": StatusCode.PERMISSION_DENIED,
        b"404": StatusCode.UNIMPLEMENTED,
        b"429": StatusCode.UNAVAILABLE,
        b"502": StatusCode.UNAVAILABLE,
        b"503": StatusCode.UNAVAILABLE,
        b"504": StatusCode.UNAVAILABLE,
    }.get(http_status, StatusCode.UNKNOWN)
    return Status(code, f"the peer answered with HTTP status {http_status.decode('latin-1')}")


def status_of_reset(error_code: int) -> Status:
    """What RST_STREAM from the peer stands for.

    Source: gRPC over HTTP2, section Errors.
    """
    code = {
        0x7: StatusCode.UNAVAILABLE,  # REFUSED_STREAM
        0x8: StatusCode.CANCELLED,  # CANCEL
        0xB: StatusCode.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
        0xC: StatusCode.PERMISSION_DENIED,  # INADEQUATE_SECURITY
    }.get(error_code, StatusCode.INTERNAL)
    return Status(code, f"the peer reset the stream with code {error_code}")


def _sendable(text: str) -> str:
    text = text.encode(errors="replace").decode()
    while len(_quote(text)) > MAX_TEXT_BYTES:
        text = text[: len(text) * 3 // 4] + "…"
    return text


def _quote(text: str) -> bytes:
    return urllib.parse.quote(text, safe=_UNRESERVED).encode()


def _decode_code(value: bytes | None) -> StatusCode | None:
    if value is None:
        return None
    try:
        return StatusCode(int(value))
    except ValueError:
        return StatusCode.UNKNOWN


def _decode_details(packed: bytes, code: StatusCode) -> Details:
    try:
        message = status_pb2.Status.FromString(metadata.decode_binary(packed))
    except (metadata.MetadataError, DecodeError):
        return ()
    if message.code != code.value:
        return ()
    return tuple((any_.type_url, any_.value) for any_ in message.details)
