"""Metadata and timeouts say on the other side what they said here."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trio_driver.rpc.metadata import (
    MetadataError,
    decode_binary,
    decode_metadata,
    encode_binary,
    encode_metadata,
    encode_timeout,
    parse_timeout,
)

KEYS = st.text(string.ascii_lowercase + string.digits + "_-.", min_size=1)
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
PAIRS = st.one_of(
    st.tuples(KEYS.filter(lambda key: not key.endswith("-bin")), TEXTS),
    st.tuples(KEYS.map(lambda key: f"{key}-bin"), st.binary()),
).filter(lambda pair: not pair[0].startswith("grpc-") and pair[0] not in ("te", "content-type"))


@given(st.lists(PAIRS))
@settings(deadline=None)
def test_metadata_survives_the_wire(pairs: list[tuple[str, str | bytes]]) -> None:
    assert list(decode_metadata(encode_metadata(pairs))) == pairs


@given(st.binary())
@settings(deadline=None)
def test_binary_values_may_be_padded_or_not(value: bytes) -> None:
    bare = encode_binary(value)
    assert b"=" not in bare
    assert decode_binary(bare) == value
    assert decode_binary(bare + b"=" * (-len(bare) % 4)) == value


@pytest.mark.parametrize("value", [b"%", b"a", b"abc\xff", b"ab=c"])
def test_what_is_not_base64_is_a_metadata_error(value: bytes) -> None:
    with pytest.raises(MetadataError):
        decode_binary(value)


def test_several_binary_values_may_share_a_field() -> None:
    assert decode_metadata([(b"x-bin", b"AA==,AQ")]) == (("x-bin", b"\0"), ("x-bin", b"\1"))


def test_fields_of_http_and_grpc_are_not_metadata() -> None:
    fields = [(b":path", b"/"), (b"te", b"trailers"), (b"grpc-timeout", b"1S"), (b"x", b"caf\xe9")]
    assert decode_metadata(fields) == (("x", "café"),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Upper", "x"),
        ("", "x"),
        (":path", "x"),
        ("grpc-x", "x"),
        ("te", "x"),
        ("x", b"bytes"),
        ("x-bin", "text"),
        ("x", "caf\xe9"),
        ("x", "line\nbreak"),
    ],
)
def test_metadata_that_cannot_be_sent_is_a_value_error(key: str, value: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"is not a|binary value"):
        encode_metadata([(key, value)])


@given(st.floats(0, 1e8))
@settings(deadline=None)
def test_a_timeout_is_never_shortened_and_fits_eight_digits(timeout_s: float) -> None:
    assume(timeout_s == 0 or timeout_s > 1e-9)
    encoded = encode_timeout(timeout_s)
    assert len(encoded) <= 9
    parsed = parse_timeout(encoded)
    assert timeout_s * (1 - 1e-9) <= parsed <= timeout_s * 1.0002 + 1e-9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9)],
)
def test_every_unit_is_read(value: bytes, seconds: float) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"1s", b"-1S", b"1.5S", b"123456789S", b"1S "])
def test_a_timeout_that_is_none_is_a_metadata_error(value: bytes) -> None:
    with pytest.raises(MetadataError):
        parse_timeout(value)


def test_a_timeout_longer_than_can_be_said_is_the_longest() -> None:
    assert encode_timeout(1e15) == b"99999999H"
