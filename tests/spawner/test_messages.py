"""What plugin and spawner say to each other: round trips, and nothing but a MessageError for anything else."""

import contextlib
import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_driver.linux import ProcessId
from trio_driver.spawner import ProcessLimits, SpawnRequest
from trio_driver.spawner.messages import (
    MAX_MESSAGE_BYTES,
    RLIMITS,
    MessageError,
    SpawnReply,
    decode,
    encode,
)

LIMITS = ProcessLimits(path="/bin", umask=0o22, rlimits={"RLIMIT_NOFILE": (1, 2)})

texts = st.text(st.characters(codec="utf-8"), max_size=50)

requests = st.builds(
    SpawnRequest,
    task_id=texts,
    alloc_id=texts,
    task_name=texts,
    alloc_root=texts,
    driver=texts,
    limits=st.builds(
        ProcessLimits,
        path=texts,
        umask=st.integers(0, 0o777),
        rlimits=st.dictionaries(
            st.sampled_from(RLIMITS), st.tuples(st.integers(-1), st.integers(-1))
        ),
    ),
)
replies = st.builds(SpawnReply, st.integers(0), st.integers(0), texts, texts)


@given(requests)
def test_a_request_survives_its_way(request: SpawnRequest) -> None:
    assert decode(SpawnRequest, encode(request)) == request


@given(replies)
def test_a_reply_survives_its_way_and_names_the_process(reply: SpawnReply) -> None:
    read = decode(SpawnReply, encode(reply))
    assert read == reply
    assert read.process == ProcessId(reply.pid, reply.start_ticks, reply.boot_id)


@given(st.binary(max_size=200))
def test_anything_else_is_a_message_error(data: bytes) -> None:
    with contextlib.suppress(MessageError):
        assert isinstance(decode(SpawnRequest, data), SpawnRequest)
    with contextlib.suppress(MessageError):
        assert isinstance(decode(SpawnReply, data), SpawnReply)


def test_a_message_that_no_datagram_holds_is_refused_with_both_sizes() -> None:
    request = SpawnRequest(
        task_id="x" * MAX_MESSAGE_BYTES,
        alloc_id="",
        task_name="",
        alloc_root="",
        driver="",
        limits=LIMITS,
    )
    with pytest.raises(MessageError, match=f"at most {MAX_MESSAGE_BYTES} fit"):
        encode(request)


def test_limits_of_this_process_are_read_and_left_as_they_are() -> None:
    before = os.umask(0o077)
    os.umask(before)
    limits = ProcessLimits.of_this_process()
    now = os.umask(before)
    assert limits.umask == before == now
    assert limits.rlimits["RLIMIT_NOFILE"] == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert set(limits.rlimits) == set(RLIMITS)
    assert limits.path == os.environ["PATH"]
