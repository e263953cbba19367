"""Messages on a stream: each a protobuf message behind its length in four bytes, big end first.

Rules:
- A connection carries one request and its answers; of a session, input too. Cancelling is closing.
- A frame longer than its limit, or one that is cut off, is a `FrameError`: it ends its connection
  and nothing else.
"""

from typing import TypeVar

import trio
from google.protobuf.message import DecodeError, Message

LENGTH_BYTES = 4

MAX_FRAME_BYTES = 32 << 20
"""A task's environment and configuration are the longest; the agent's own limit for a job is
lower."""

MessageT = TypeVar("MessageT", bound=Message)


class FrameError(Exception):
    """What came is not a message of this protocol."""


async def send_message(stream: trio.abc.SendStream, message: Message) -> None:
    """Send `message`.

    Raises:
        trio.BrokenResourceError: the other end is gone.

    If cancelled, a part may have been sent: close the connection.
    """
    payload = message.SerializeToString()
    await stream.send_all(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)


async def receive_message(
    stream: trio.abc.ReceiveStream,
    message_type: type[MessageT],
    *,
    max_bytes: int = MAX_FRAME_BYTES,
) -> MessageT | None:
    """The next message; None at the end of the connection.

    Raises:
        FrameError: the frame is too long, cut off, or no `message_type`.
        trio.BrokenResourceError: the connection was reset.
    """
    header = await _receive_exactly(stream, LENGTH_BYTES)
    if not header:
        return None
    length = int.from_bytes(header, "big")
    if length > max_bytes:
        raise FrameError(f"a frame of {length} bytes; at most {max_bytes} are accepted")
    payload = await _receive_exactly(stream, length)
    if len(payload) < length:
        raise FrameError("the connection ended within a frame")
    try:
        return message_type.FromString(payload)
    except DecodeError as error:
        raise FrameError(f"not a {message_type.DESCRIPTOR.full_name}: {error}") from error


async def _receive_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    """`count` bytes; none at the end of the connection.

    Raises:
        FrameError: it ended in between.
    """
    data = bytearray()
    while len(data) < count:
        # Never more than asked for: a length that lies costs its sender, not us.
        chunk = await stream.receive_some(min(count - len(data), 65_536))
        if not chunk:
            if data:
                raise FrameError("the connection ended within a frame")
            return b""
        data += chunk
    return bytes(data)
