"""Statuses say on the other side what they said here, with their details."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver._proto import status_pb2
from trio_driver.rpc import RpcError, Status, StatusCode
from trio_driver.rpc.metadata import decode_binary, encode_binary, find
from trio_driver.rpc.status import decode_status, encode_status, status_of_http, status_of_reset

CODES = st.sampled_from(list(StatusCode))
DETAILS = st.lists(st.tuples(st.text(), st.binary()), max_size=3).map(tuple)


@given(code=CODES, text=st.text(max_size=200), details=DETAILS)
@settings(deadline=None)
def test_a_status_survives_the_wire(
    code: StatusCode, text: str, details: tuple[tuple[str, bytes], ...]
) -> None:
    status = Status(code, text, details)
    headers = encode_status(status)
    assert decode_status(headers) == status
    assert all(value.isascii() and b"\n" not in value for _, value in headers)


def test_details_repeat_the_code_and_the_message() -> None:
    headers = encode_status(Status(StatusCode.UNKNOWN, "no ☃", (("type/x", b"1"),)))
    packed = find(headers, b"grpc-status-details-bin")
    assert packed is not None
    message = status_pb2.Status.FromString(decode_binary(packed))
    assert (message.code, message.message) == (2, "no ☃")


def test_text_that_is_not_unicode_is_sent_as_well_as_can_be() -> None:
    headers = encode_status(Status(StatusCode.UNKNOWN, "bad \udcff name", (("x", b""),)))
    assert decode_status(headers).message == "bad ? name"


@pytest.mark.parametrize("text", ["x" * 100_000, "☃" * 100_000, "%" * 100_000])
def test_a_long_text_is_cut_to_what_peers_accept(text: str) -> None:
    headers = encode_status(Status(StatusCode.UNKNOWN, text, (("type/x", b"1"),)))
    assert sum(len(name) + len(value) + 32 for name, value in headers) < 8 * 1024
    assert decode_status(headers).message.startswith(text[:100])


@pytest.mark.parametrize(
    "details",
    [
        b"%",
        encode_binary(b"\xff\xff"),
        encode_binary(status_pb2.Status(code=9).SerializeToString()),
    ],
    ids=["not base64", "not a status", "another code"],
)
def test_details_that_cannot_be_trusted_are_left_out(details: bytes) -> None:
    headers = [(b"grpc-status", b"5"), (b"grpc-status-details-bin", details)]
    assert decode_status(headers) == Status(StatusCode.NOT_FOUND)


@pytest.mark.parametrize("value", [None, b"", b"x", b"99", b"-1"])
def test_a_status_that_is_none_is_unknown(value: bytes | None) -> None:
    headers = [] if value is None else [(b"grpc-status", value)]
    assert decode_status(headers).code is StatusCode.UNKNOWN


def test_other_ends_of_a_stream_have_their_code() -> None:
    assert status_of_http(b"503").code is StatusCode.UNAVAILABLE
    assert status_of_http(b"418").code is StatusCode.UNKNOWN
    assert status_of_reset(7).code is StatusCode.UNAVAILABLE
    assert status_of_reset(1234).code is StatusCode.INTERNAL


def test_an_error_shows_what_it_carries() -> None:
    error = RpcError(StatusCode.NOT_FOUND, "gone", (("x", b""),))
    assert (str(error), error.status) == (
        "NOT_FOUND: gone",
        Status(StatusCode.NOT_FOUND, "gone", (("x", b""),)),
    )
    assert str(RpcError(StatusCode.ABORTED)) == "ABORTED"
