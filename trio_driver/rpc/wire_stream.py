"""What the wire knows of one open stream. Values only; `wire` says when they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_driver.rpc.messages import MessageReader


class WireStream:
    """One open stream; still receiving and sending."""

    __slots__ = (
        "end_after_pending",
        "headers_bytes",
        "headers_done",
        "is_receiving",
        "is_sending",
        "is_status_known",
        "is_wanted",
        "opened_at",
        "pending",
        "pending_at",
        "reader",
        "uncredited_bytes",
    )

    def __init__(self) -> None:
        self.reader: MessageReader | None = None
        """None: what still comes is dropped."""
        self.is_receiving = True
        self.is_sending = True
        self.is_wanted = False
        """A reader waits for a message."""
        self.headers_done = False
        """Server: response headers were sent. Client: they were received."""
        self.headers_bytes = 0
        """Server: what the request's headers take of the connection's budget."""
        self.opened_at = float("-inf")
        """Server: when the request came."""
        self.is_status_known = False
        """Client: how the RPC ended has been told."""
        self.uncredited_bytes = 0
        self.pending = b""
        """A message that is being framed, or nothing."""
        self.pending_at = 0
        """How many of its bytes are framed."""
        self.end_after_pending = False

    def stop_reading(self) -> None:
        """Drop what still comes, and what is not a whole message yet."""
        if self.reader is not None:
            self.reader.close()
            self.reader = None
