"""A peer that speaks HTTP/2 frame by frame, so that it can speak it wrong.

Built on hyperframe and hpack alone; shares no code with what it tests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hpack
import hyperframe.frame
import trio

from trio_driver.rpc import Server

from .probe import UNARY, Probe
from .probe_pb2 import Note

hf: Any = hyperframe.frame
"""Its frames have no types."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WAIT_LIMIT_S = 20
"""Seconds after which what a test waits for is not going to happen, on a busy machine too."""

Headers = list[tuple[str, str]]


def request_headers(path: str | None = UNARY, **changed: str | None) -> Headers:
    """A gRPC request; a keyword (`content_type`, `method`) replaces a field, None leaves it out."""
    headers: dict[str, str] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    for name, value in {"path": path, **changed}.items():
        key = name.replace("_", "-")
        key = f":{key}" if f":{key}" in headers else key
        if value is None:
            del headers[key]
        else:
            headers[key] = value
    return list(headers.items())


def message(note: Note | None = None, *, compressed: int = 0) -> bytes:
    """`note` with its length prefix."""
    payload = (note or Note()).SerializeToString()
    return bytes((compressed,)) + len(payload).to_bytes(4) + payload


class RawPeer:
    """One end of a connection.

    `frames` holds what has arrived and nobody has waited for yet, `seen` all that has arrived.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.encoder: Any = hpack.Encoder()
        self.decoder: Any = hpack.Decoder()
        self.frames: list[Any] = []
        self.seen: list[Any] = []
        self.is_closed = False
        self._buffer = b""

    async def start(self, settings: dict[int, int] | None = None, *, is_client: bool) -> None:
        """Send what opens a connection."""
        frame = hf.SettingsFrame(0)
        frame.settings = settings or {}
        await self.stream.send_all((PREFACE if is_client else b"") + frame.serialize())

    async def send(self, *frames: Any) -> None:
        """Send frames, or bytes that need not be any."""
        data = b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames)
        await self.stream.send_all(data)

    def headers(self, stream_id: int, headers: Headers, *, end: bool = False) -> Any:
        frame = hf.HeadersFrame(stream_id, self.encoder.encode(headers))
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        return frame

    def data(self, stream_id: int, data: bytes, *, end: bool = False) -> Any:
        frame = hf.DataFrame(stream_id, data)
        if end:
            frame.flags.add("END_STREAM")
        return frame

    def request(self, stream_id: int, note: Note | None = None, **changed: str | None) -> bytes:
        """A whole unary request."""
        head = self.headers(stream_id, request_headers(**changed))
        return head.serialize() + self.data(stream_id, message(note), end=True).serialize()

    async def next(self, wanted: Callable[[Any], bool]) -> Any:
        """The next frame that is `wanted`; those before it are dropped."""
        with trio.fail_after(WAIT_LIMIT_S):
            while True:
                while self.frames:
                    if wanted(frame := self.frames.pop(0)):
                        return frame
                assert not self.is_closed, "the connection was closed"
                await self.read()

    async def read(self) -> None:
        """Read once; keep the frames."""
        try:
            data = await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self.is_closed = True
        self._buffer += data
        while len(self._buffer) >= 9:
            frame, length = hf.Frame.parse_frame_header(self._buffer[:9])
            if len(self._buffer) < 9 + length:
                break
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            if isinstance(frame, hf.HeadersFrame):
                frame.fields = dict(self.decoder.decode(frame.data))
            self.frames.append(frame)
            self.seen.append(frame)

    def seen_of(self, kind: type, stream_id: int = 0) -> list[Any]:
        """All frames of a kind that have come on a stream, waited for or not."""
        return [f for f in self.seen if isinstance(f, kind) and f.stream_id == stream_id]

    async def next_of(self, kind: type, stream_id: int = 0) -> Any:
        return await self.next(lambda f: isinstance(f, kind) and f.stream_id == stream_id)

    async def trailers(self, stream_id: int) -> dict[str, str]:
        """The header fields that end the stream."""
        frame = await self.next(
            lambda f: (
                isinstance(f, hf.HeadersFrame)
                and f.stream_id == stream_id
                and "END_STREAM" in f.flags
            )
        )
        return frame.fields

    async def status(self, stream_id: int) -> int:
        """The grpc-status with which the stream ends."""
        return int((await self.trailers(stream_id))["grpc-status"])

    async def call(self, stream_id: int) -> int:
        """Make a good unary call; give its status."""
        await self.send(self.request(stream_id))
        return await self.status(stream_id)

    async def wait_closed(self) -> list[Any]:
        """Read until the other end closes; give the frames that came."""
        with trio.fail_after(WAIT_LIMIT_S):
            while not self.is_closed:
                await self.read()
        return self.frames


def stream_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    left, right = trio.socket.socketpair()
    return trio.SocketStream(left), trio.SocketStream(right)


@asynccontextmanager
async def raw_client(
    probe: Probe | None = None, *, settings: dict[int, int] | None = None
) -> AsyncGenerator[RawPeer]:
    """A raw client whose connection is served by a server of `probe`; must have been closed by
    the server, or be closable by the client, at the end."""
    ours, theirs = stream_pair()
    server = Server([probe or Probe()])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, ours)
        async with theirs:
            peer = RawPeer(theirs)
            await peer.start(settings, is_client=True)
            yield peer
        with trio.fail_after(WAIT_LIMIT_S):
            await server.connections.wait_value(0)
