"""What we encode without a table is what hpack decodes, whatever table the peer allows."""

from __future__ import annotations

from typing import Any

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver.rpc.header_encoder import LiteralEncoder

FIELDS = st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)))


def decode(decoder: Any, block: bytes) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


@given(st.lists(FIELDS))
@settings(deadline=None)
def test_fields_survive_the_wire(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    encoder, decoder = LiteralEncoder(), hpack.Decoder()
    for fields in blocks:
        assert decode(decoder, encoder.encode(fields)) == fields


@pytest.mark.parametrize("length", [126, 127, 128, 254, 255, 256, 16_510, 16_511, 20_000])
def test_every_length_is_encoded(length: int) -> None:
    fields = [(b"x" * length, b"y" * length)]
    assert decode(hpack.Decoder(), LiteralEncoder().encode(fields)) == fields


def test_a_peer_that_allows_no_table_is_obeyed() -> None:
    decoder: Any = hpack.Decoder()
    decoder.max_allowed_table_size = 0
    assert decode(decoder, LiteralEncoder().encode([(b"a", b"b")])) == [(b"a", b"b")]
    assert decoder.header_table_size == 0
