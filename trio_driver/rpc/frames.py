"""HTTP/2 frames as they stand in the byte stream: cut out, measured, and a few written by hand.

Owns the bytes that do not make a frame yet. Rules:
- A frame's length is judged from its nine-byte header, before any of its payload is kept.
- A header block is measured over all its frames before HPACK may see it: hpack 3.0 needs quadratic
  time for a long integer (60 kB: 0.3 s), and one slow connection would stop all others.
- Nothing here waits, and nothing here knows of streams, RPCs or messages.

Source: RFC 9113 sections 3.4, 4.1, 6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES = 9

MAX_FRAME_BYTES = 16_384
"""Largest payload of a frame that we accept; the smallest that HTTP/2 lets us advertise."""

MAX_HEADER_BLOCK_BYTES = 32_768
"""Largest compressed header block over all its frames; gRPC peers send 8 or 16 KiB at most."""

MAX_HEADER_LIST_BYTES = 32_768
"""Advertised limit of a header list (RFC 9113 section 6.5.2); a longer one fails its RPC only."""

END_HEADERS = 0x4


class FrameKind(IntEnum):
    """Frame types that need to be told apart before h2 sees them."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


_HEADER_BLOCK_KINDS = frozenset(
    (FrameKind.HEADERS, FrameKind.PUSH_PROMISE, FrameKind.CONTINUATION),
)


class WireError(Exception):
    """The peer broke HTTP/2; its connection must end with GOAWAY and this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
CANCEL = 0x8
ENHANCE_YOUR_CALM = 0xB


class Frame(NamedTuple):
    """One whole frame; `raw` holds header and payload."""

    kind: int
    flags: int
    stream_id: int
    raw: bytes

    @property
    def payload_bytes(self) -> int:
        """Length of the payload: what flow control counts for DATA."""
        return len(self.raw) - FRAME_HEADER_BYTES


class FrameCutter:
    """Turns received bytes into whole frames.

    Args:
        expect_preface: true on the server's side, where the client's first bytes are the preface.
    """

    def __init__(self, *, expect_preface: bool) -> None:
        self._buffer = bytearray()
        self._preface = PREFACE if expect_preface else b""
        self._header_block_bytes = 0
        """Bytes of the open header block so far; 0 when none is open."""

    def cut(self, data: bytes) -> Iterator[Frame]:
        """Give the frames that `data` completes; the rest is kept for the next call.

        Raises:
            WireError: wrong preface, or a frame or header block that is too long.
        """
        buffer = self._buffer
        buffer += data
        if self._preface and not self._cut_preface():
            return
        start = 0
        try:
            while len(buffer) - start >= FRAME_HEADER_BYTES:
                length = int.from_bytes(buffer[start : start + 3])
                if length > MAX_FRAME_BYTES:
                    raise WireError(FRAME_SIZE_ERROR, f"frame of {length} bytes")
                end = start + FRAME_HEADER_BYTES + length
                if end > len(buffer):
                    break
                raw = bytes(buffer[start:end])
                start = end
                frame = Frame(raw[3], raw[4], int.from_bytes(raw[5:9]) & 0x7FFF_FFFF, raw)
                if frame.kind in _HEADER_BLOCK_KINDS or self._header_block_bytes:
                    self._measure_header_block(frame)
                yield frame
        finally:
            del buffer[:start]

    def _cut_preface(self) -> bool:
        known = min(len(self._preface), len(self._buffer))
        if not self._buffer.startswith(self._preface[:known]):
            raise WireError(PROTOCOL_ERROR, "no HTTP/2 preface")
        self._preface = self._preface[known:]
        del self._buffer[:known]
        return not self._preface

    def _measure_header_block(self, frame: Frame) -> None:
        if self._header_block_bytes and frame.kind != FrameKind.CONTINUATION:
            raise WireError(PROTOCOL_ERROR, "frame inside a header block")
        if not self._header_block_bytes and frame.kind == FrameKind.CONTINUATION:
            raise WireError(PROTOCOL_ERROR, "continuation of no header block")
        self._header_block_bytes += len(frame.raw)
        if self._header_block_bytes > MAX_HEADER_BLOCK_BYTES:
            raise WireError(ENHANCE_YOUR_CALM, "header block too long")
        if frame.flags & END_HEADERS:
            self._header_block_bytes = 0


def encode_frame(kind: FrameKind, stream_id: int, payload: bytes) -> bytes:
    """A frame without flags, for the few that h2 must not write."""
    header = len(payload).to_bytes(3) + bytes((kind, 0)) + stream_id.to_bytes(4)
    return header + payload


def encode_goaway(last_stream_id: int, code: int, reason: str) -> bytes:
    """GOAWAY: no stream above `last_stream_id` was or will be worked on."""
    payload = struct.pack(">II", last_stream_id, code) + reason.encode()
    return encode_frame(FrameKind.GOAWAY, 0, payload)


def decode_goaway(frame: Frame) -> tuple[int, int]:
    """The last stream id that the peer will answer, and its error code.

    Raises:
        WireError: the frame is too short or not on stream 0.
    """
    if frame.payload_bytes < 8 or frame.stream_id != 0:
        raise WireError(FRAME_SIZE_ERROR, "malformed GOAWAY")
    last_stream_id, code = struct.unpack_from(">II", frame.raw, FRAME_HEADER_BYTES)
    return last_stream_id & 0x7FFF_FFFF, code
