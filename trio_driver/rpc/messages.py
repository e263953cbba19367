"""Length-prefixed messages of one direction of one RPC, cut out of DATA.

Owns the bytes of the message that is not complete. Rules:
- A length is judged before its bytes are kept, a decompressed size while it grows.
- A compressed message is kept as it came until it is read: what waits for a reader is never larger
  than what flow control let through.
- An error ends this RPC only; the reader must not be fed again.

Must not know: flow control, streams, protobuf.

Source: gRPC over HTTP2, "Length-Prefixed-Message".
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TypeAlias

from trio_driver.rpc.budget import MESSAGE_OVERHEAD_BYTES, Budget
from trio_driver.rpc.service import StatusCode
from trio_driver.rpc.status import RpcError

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""Longest message by default, each way; gRPC's own default is 4 MiB for what is received."""

PREFIX_BYTES = 5
"""One byte that says whether the message is compressed, four of length."""

WBITS_OF = {b"gzip": 31, b"deflate": 15}
"""zlib's window argument for the encodings that we read: gzip's and zlib's container."""


@dataclass(frozen=True, slots=True)
class CompressedMessage:
    """A message as it came, in one of the encodings of `WBITS_OF`."""

    data: bytes
    encoding: bytes
    max_message_bytes: int

    def __len__(self) -> int:
        return len(self.data)

    def decompress(self) -> bytes:
        """The message.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, it is too long; INTERNAL, it is malformed.
        """
        inflater = zlib.decompressobj(WBITS_OF[self.encoding])
        try:
            message = inflater.decompress(self.data, self.max_message_bytes + 1)
        except zlib.error as error:
            raise RpcError(StatusCode.INTERNAL, f"malformed compressed message: {error}") from error
        if len(message) > self.max_message_bytes:
            raise _too_long(len(message), self.max_message_bytes)
        if not inflater.eof:
            raise RpcError(StatusCode.INTERNAL, "truncated compressed message")
        return message


Payload: TypeAlias = bytes | CompressedMessage


def held_bytes(payload: Payload) -> int:
    """What a message that waits for its reader takes of the connection's budget."""
    return len(payload) + MESSAGE_OVERHEAD_BYTES


class MessageReader:
    """Reassembles messages.

    Args:
        encoding: value of grpc-encoding, for messages that are marked compressed.
        max_message_bytes: longest message accepted, before and after decompression.
        budget: of the connection; what `feed` gives has been taken from it, and whoever reads a
            message gives its `held_bytes` back.

    Raises:
        RpcError: UNIMPLEMENTED for an encoding that we do not know.
    """

    def __init__(self, encoding: bytes, *, max_message_bytes: int, budget: Budget) -> None:
        if encoding != b"identity" and encoding not in WBITS_OF:
            raise RpcError(
                StatusCode.UNIMPLEMENTED,
                f"grpc-encoding {encoding.decode('latin-1')!r} is not supported",
            )
        self._encoding = encoding
        self._max_message_bytes = max_message_bytes
        self._budget = budget
        self._buffer = bytearray()
        self._taken_bytes = 0
        """What the buffer takes of the budget."""

    @property
    def is_between_messages(self) -> bool:
        """True where the input may end."""
        return not self._buffer

    def feed(self, data: bytes) -> list[Payload]:
        """Give the messages that `data` completes.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, a message is too long, or all that is held is too much;
                INTERNAL, it is marked as compressed and no encoding was named.
        """
        buffer = self._buffer
        buffer += data
        messages: list[Payload] = []
        start = 0
        while len(buffer) - start >= PREFIX_BYTES:
            length = int.from_bytes(buffer[start + 1 : start + PREFIX_BYTES])
            if length > self._max_message_bytes:
                raise _too_long(length, self._max_message_bytes)
            end = start + PREFIX_BYTES + length
            if end > len(buffer):
                break
            payload = bytes(memoryview(buffer)[start + PREFIX_BYTES : end])
            messages.append(self._compressed(payload) if buffer[start] else payload)
            start = end
        del buffer[:start]
        self._budget.take(len(buffer) - self._taken_bytes + sum(map(held_bytes, messages)))
        self._taken_bytes = len(buffer)
        return messages

    def close(self) -> None:
        """Drop the message that is not complete."""
        self._budget.give_back(self._taken_bytes)
        self._taken_bytes = 0

    def _compressed(self, data: bytes) -> CompressedMessage:
        if self._encoding not in WBITS_OF:
            raise RpcError(StatusCode.INTERNAL, "compressed message without a grpc-encoding")
        return CompressedMessage(data, self._encoding, self._max_message_bytes)


def encode_message(payload: bytes) -> bytes:
    """`payload` with the prefix of a message that is not compressed."""
    return b"\0" + len(payload).to_bytes(4) + payload


def _too_long(length: int, limit: int) -> RpcError:
    return RpcError(
        StatusCode.RESOURCE_EXHAUSTED, f"message of {length} bytes or more; the limit is {limit}"
    )
