"""What one connection may have us keep: requests' headers, and messages that nobody has read.

The windows of HTTP/2 bound each RPC, but thousands are allowed at a time, and a message that a
handler waits for is credited up to its whole length. This bounds their sum.

Must not know: streams, frames.
"""

from __future__ import annotations

from trio_driver.rpc.service import StatusCode
from trio_driver.rpc.status import RpcError

MIN_LIMIT_BYTES = 67_108_864
MESSAGES_HELD = 4
"""A connection's budget: so many messages of the greatest length, or the least limit if that is
more. An agent never has a hundredth of it under way."""

MESSAGE_OVERHEAD_BYTES = 64
"""What a message that waits costs beside its bytes, however short it is."""


class Budget:
    """Bytes that may be held; whoever takes some gives them back."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def take(self, amount: int) -> None:
        """Hold `amount` bytes more; may be negative.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, and nothing is taken: it would be too much.
        """
        if amount > 0 and self.held_bytes + amount > self.limit_bytes:
            raise RpcError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"the calls on this connection would hold more than {self.limit_bytes} bytes",
            )
        self.held_bytes += amount

    def give_back(self, amount: int) -> None:
        """Hold `amount` bytes less."""
        self.held_bytes -= amount


def budget_for(max_message_bytes: int) -> Budget:
    """The budget of a connection whose messages have `max_message_bytes` at most."""
    return Budget(max(MIN_LIMIT_BYTES, MESSAGES_HELD * max_message_bytes))
