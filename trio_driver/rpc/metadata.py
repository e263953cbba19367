"""Header fields of gRPC: custom metadata, binary values, timeouts.

Pure conversions between header lists (pairs of bytes, as HPACK gives them) and values. Rules:
- What a peer sent wrong is a `MetadataError`; what a caller of ours passes wrong is a `ValueError`.
- Not ASCII on the wire: read as latin-1 rather than refused; never sent.

Must not know: streams, frames, who is client and who is server.

Source: gRPC over HTTP2 (PROTOCOL-HTTP2), sections Requests and Responses.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]

TIMEOUT_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
"""Seconds in each unit of grpc-timeout."""

MAX_TIMEOUT_DIGITS = 8

_RESERVED = frozenset((b"content-type", b"te"))
_KEY = re.compile(r"[0-9a-z_.-]+")
_ASCII_VALUE = re.compile(r"[\x20-\x7e]*")
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")


class MetadataError(Exception):
    """The peer sent a header field that does not mean anything."""


def encode_metadata(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """Custom metadata as header fields.

    Raises:
        ValueError: a key that HTTP/2 or gRPC does not allow, bytes under a key without `-bin`, text
            under one with it, or text that is not printable ASCII.
    """
    headers: list[tuple[bytes, bytes]] = []
    for key, value in metadata:
        if not _KEY.fullmatch(key) or key.startswith("grpc-") or key.encode() in _RESERVED:
            raise ValueError(f"{key!r} is not a key for metadata")
        if isinstance(value, bytes):
            if not key.endswith("-bin"):
                raise ValueError(f"{key!r} has a binary value, but no -bin at its end")
            headers.append((key.encode(), encode_binary(value)))
        else:
            if key.endswith("-bin") or not _ASCII_VALUE.fullmatch(value):
                raise ValueError(f"{value!r} is not a value for {key!r}")
            headers.append((key.encode(), value.encode()))
    return headers


def decode_metadata(headers: Headers) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata among `headers` in the order sent, without HTTP's and gRPC's own fields.

    Raises:
        MetadataError: a `-bin` value is not base64.
    """
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name.startswith((b":", b"grpc-")) or name in _RESERVED:
            continue
        key = name.decode("latin-1")
        if name.endswith(b"-bin"):
            metadata.extend((key, decode_binary(part)) for part in value.split(b","))
        else:
            metadata.append((key, value.decode("latin-1")))
    return tuple(metadata)


def encode_binary(value: bytes) -> bytes:
    """Base64 without padding, as gRPC wants it."""
    return binascii.b2a_base64(value, newline=False).rstrip(b"=")


def decode_binary(value: bytes) -> bytes:
    """Base64 with or without padding.

    Raises:
        MetadataError: it is not base64.
    """
    bare = value.strip().rstrip(b"=")
    try:
        return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error as error:
        raise MetadataError(f"not base64: {value[:40]!r}") from error


def parse_timeout(value: bytes) -> float:
    """Seconds that a grpc-timeout field stands for.

    Raises:
        MetadataError: not one to eight digits and a unit.
    """
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise MetadataError(f"malformed grpc-timeout {value[:40]!r}")
    return int(match[1]) * TIMEOUT_UNITS_S[match[2]]


def encode_timeout(timeout_s: float) -> bytes:
    """The grpc-timeout field in the finest unit that eight digits allow, rounded up."""
    for unit in (b"n", b"u", b"m", b"S", b"M", b"H"):
        amount = max(0, math.ceil(timeout_s / TIMEOUT_UNITS_S[unit]))
        if len(str(amount)) <= MAX_TIMEOUT_DIGITS:
            return b"%d%s" % (amount, unit)
    return b"9" * MAX_TIMEOUT_DIGITS + b"H"


def find(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of the field `name`, or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def header_list_bytes(headers: Headers) -> int:
    """Size of a header list as HTTP/2 counts it (RFC 9113 section 6.5.2)."""
    return sum(len(name) + len(value) + 32 for name, value in headers)
