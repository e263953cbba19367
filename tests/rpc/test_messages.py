"""Messages are cut out of DATA however it is cut itself; what is too long is never kept."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver.rpc import RpcError
from trio_driver.rpc.budget import Budget
from trio_driver.rpc.messages import CompressedMessage, MessageReader, encode_message


def reader(encoding: bytes = b"identity", limit: int = 1_000) -> MessageReader:
    return MessageReader(encoding, max_message_bytes=limit, budget=Budget(2**20))


@given(payloads=st.lists(st.binary(max_size=30)), sizes=st.lists(st.integers(1, 20), min_size=1))
@settings(deadline=None)
def test_messages_come_out_whole_however_the_data_arrives(
    payloads: list[bytes], sizes: list[int]
) -> None:
    data = b"".join(map(encode_message, payloads))
    messages, got, position = reader(), list[object](), 0
    while position < len(data):
        size = sizes[position % len(sizes)]
        got += messages.feed(data[position : position + size])
        position += size
    assert got == payloads
    assert messages.is_between_messages


@given(st.binary())
@settings(deadline=None)
def test_any_data_is_messages_or_an_rpc_error(data: bytes) -> None:
    with suppress(RpcError):
        for message in reader(b"gzip").feed(data):
            if isinstance(message, CompressedMessage):
                message.decompress()


def test_a_length_is_judged_before_the_message_is_there() -> None:
    with pytest.raises(RpcError, match="RESOURCE_EXHAUSTED"):
        reader(limit=10).feed(b"\0\0\0\0\x0b")
    assert reader(limit=10).feed(encode_message(bytes(10))) == [bytes(10)]


@pytest.mark.parametrize(
    ("encoding", "compress"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)]
)
def test_a_compressed_message_is_read_up_to_the_limit(
    encoding: bytes, compress: Callable[[bytes], bytes]
) -> None:
    def read(payload: bytes) -> bytes:
        (message,) = reader(encoding).feed(b"\1" + encode_message(compress(payload))[1:])
        assert isinstance(message, CompressedMessage)
        return message.decompress()

    assert read(b"x" * 1_000) == b"x" * 1_000
    with pytest.raises(RpcError, match="RESOURCE_EXHAUSTED"):
        read(bytes(100_000))


def test_a_message_that_is_not_compressed_may_come_in_a_compressed_stream() -> None:
    assert reader(b"gzip").feed(encode_message(b"plain")) == [b"plain"]


def test_an_encoding_that_is_not_known_is_unimplemented() -> None:
    with pytest.raises(RpcError, match="UNIMPLEMENTED"):
        reader(b"snappy")


def test_the_input_may_not_end_inside_a_message() -> None:
    messages = reader()
    messages.feed(encode_message(b"abc")[:-1])
    assert not messages.is_between_messages
