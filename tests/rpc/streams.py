"""Streams that stand between a connection and its socket: to look, to hold back, to break."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Tap(trio.abc.Stream):
    """Passes everything on to `inner`, and lets a test see and delay it."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.on_received: Callable[[bytes], None] = lambda data: None
        self.before_send: Callable[[], trio.Event | None] = lambda: None
        """May give an event that a send has to wait for."""
        self.sent = bytearray()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self.inner.receive_some(max_bytes))
        self.on_received(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if (gate := self.before_send()) is not None:
            await gate.wait()
        await self.inner.send_all(data)
        self.sent += data

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()
