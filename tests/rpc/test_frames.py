"""Frames are cut out of bytes however these arrive, and judged before they are kept."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver.rpc.floods import RateLimit
from trio_driver.rpc.frames import (
    MAX_FRAME_BYTES,
    PREFACE,
    FrameCutter,
    FrameKind,
    WireError,
    decode_goaway,
    encode_frame,
    encode_goaway,
)

FRAMES = st.lists(
    st.tuples(st.integers(10, 255), st.integers(0, 2**31 - 1), st.binary(max_size=50))
)


def encode(frames: list[tuple[int, int, bytes]]) -> bytes:
    return b"".join(
        len(payload).to_bytes(3) + bytes((kind, 0)) + stream_id.to_bytes(4) + payload
        for kind, stream_id, payload in frames
    )


@given(frames=FRAMES, sizes=st.lists(st.integers(1, 40), min_size=1))
@settings(deadline=None)
def test_frames_come_out_whole_however_the_bytes_arrive(
    frames: list[tuple[int, int, bytes]], sizes: list[int]
) -> None:
    cutter = FrameCutter(expect_preface=True)
    data = PREFACE + encode(frames)
    got: list[tuple[int, int, bytes]] = []
    position = 0
    while position < len(data):
        size = sizes[position % len(sizes)]
        for frame in cutter.cut(data[position : position + size]):
            got.append((frame.kind, frame.stream_id, frame.raw[9:]))
            assert frame.payload_bytes == len(frame.raw) - 9
        position += size
    assert got == frames


@given(st.binary())
@settings(deadline=None)
def test_any_bytes_are_frames_or_a_wire_error(data: bytes) -> None:
    cutter = FrameCutter(expect_preface=False)
    with suppress(WireError):
        list(cutter.cut(data))


def test_a_length_is_judged_by_the_header_alone() -> None:
    cutter = FrameCutter(expect_preface=False)
    header = (MAX_FRAME_BYTES + 1).to_bytes(3) + bytes(6)
    assert list(cutter.cut(header[:8])) == []
    with pytest.raises(WireError, match="16385"):
        list(cutter.cut(header[8:]))


def test_a_wrong_preface_is_seen_at_its_first_wrong_byte() -> None:
    cutter = FrameCutter(expect_preface=True)
    assert list(cutter.cut(PREFACE[:5])) == []
    with pytest.raises(WireError, match="preface"):
        list(cutter.cut(b"?"))


def test_goaway_reads_what_it_writes() -> None:
    (frame,) = FrameCutter(expect_preface=False).cut(encode_goaway(7, 11, "why"))
    assert decode_goaway(frame) == (7, 11)


@pytest.mark.parametrize(("stream_id", "payload"), [(0, b"short"), (1, bytes(8))])
def test_a_goaway_that_is_none_is_a_wire_error(stream_id: int, payload: bytes) -> None:
    raw = encode_frame(FrameKind.GOAWAY, stream_id, payload)
    (frame,) = FrameCutter(expect_preface=False).cut(raw)
    with pytest.raises(WireError):
        decode_goaway(frame)


def test_a_rate_is_limited_within_a_period_not_over_a_lifetime() -> None:
    limit = RateLimit(3, period_s=10, what="pings")
    for now in range(1_000):
        limit.count(now * 4.0)
    for _ in range(2):
        limit.count(4_000.0)
    with pytest.raises(WireError, match="too many pings"):
        limit.count(4_000.0)


def test_a_rate_that_is_forgiven_starts_anew() -> None:
    limit = RateLimit(3, period_s=10, what="pings")
    for _ in range(100):
        limit.count(0.0)
        limit.forgive()
