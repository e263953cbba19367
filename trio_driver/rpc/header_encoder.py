"""HPACK without its table: every field is sent as a literal, so that encoding has no state.

Takes the place of hpack's encoder in h2, which searches its tables for every field and spends more
time on three header blocks than a unary call takes otherwise. On the sockets that we serve, bytes
are cheaper than that. Without a table there is none that a peer could have us grow.

Source: RFC 7541 sections 4.2, 5.1, 6.2.2, 6.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

EMPTY_TABLE = b"\x20"
"""Dynamic table size update to 0: stays within whatever size a peer allows."""

LITERAL_WITHOUT_INDEXING = b"\x00"
LENGTH_PREFIX_MAX = 127
"""What does not fit into the 7 bits that a length starts with."""

CACHED_FIELDS = 256
"""Fields kept as encoded; most RPCs differ in none, or in their path alone."""


class LiteralEncoder:
    """Stands in for `hpack.Encoder`."""

    def __init__(self) -> None:
        self.header_table_size = 0
        """Set by h2 to what the peer allows; not used."""
        self._prefix = EMPTY_TABLE

    def encode(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """One header block."""
        block = self._prefix + b"".join([_encode_field(name, value) for name, value in headers])
        self._prefix = b""
        return block


@lru_cache(CACHED_FIELDS)
def _encode_field(name: bytes, value: bytes) -> bytes:
    return b"".join(
        (LITERAL_WITHOUT_INDEXING, _encode_length(name), name, _encode_length(value), value)
    )


def _encode_length(text: bytes) -> bytes:
    length = len(text)
    if length < LENGTH_PREFIX_MAX:
        return bytes((length,))
    encoded = bytearray((LENGTH_PREFIX_MAX,))
    length -= LENGTH_PREFIX_MAX
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)
