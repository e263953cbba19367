"""What the wire tells a connection: one value per thing that happened, in the order it happened.

Rules: values only; a stream id names an RPC of this connection for as long as that RPC lasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from trio_driver.rpc.messages import Payload
from trio_driver.rpc.metadata import Metadata
from trio_driver.rpc.status import Status


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """Server: a client opened an RPC that may take `timeout_s` seconds from now."""

    stream_id: int
    path: str
    metadata: Metadata
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """Client: the answer has begun."""

    stream_id: int
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A whole message."""

    stream_id: int
    payload: Payload


@dataclass(frozen=True, slots=True)
class InputEnded:
    """Server: the client will send no more messages."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class InputFailed:
    """What came on this RPC cannot be read any further; the RPC is to end with `status`."""

    stream_id: int
    status: Status


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """Client: the RPC has ended."""

    stream_id: int
    status: Status
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The RPC was reset, by the peer or for what the peer sent; nothing can be sent on it."""

    stream_id: int
    error_code: int


@dataclass(frozen=True, slots=True)
class SendingUnblocked:
    """The message that was waiting for room has been framed."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class LimitsChanged:
    """The peer sent new settings: more RPCs may be allowed at a time."""


@dataclass(frozen=True, slots=True)
class GoAwayReceived:
    """The peer will not work on streams above `last_stream_id`."""

    last_stream_id: int
    error_code: int


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """The peer broke HTTP/2. GOAWAY is queued; nothing more will be read."""

    reason: str


Event: TypeAlias = (
    RequestReceived
    | ResponseReceived
    | MessageReceived
    | InputEnded
    | InputFailed
    | StatusReceived
    | StreamReset
    | SendingUnblocked
    | LimitsChanged
    | GoAwayReceived
    | ConnectionFailed
)
