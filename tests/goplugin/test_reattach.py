"""The record of a running plugin, and the proof that it is the one meant."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Literal

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_driver.goplugin import ReattachConfig, ReattachError, reattach

if TYPE_CHECKING:
    from pathlib import Path

networks: st.SearchStrategy[Literal["unix", "tcp"]] = st.sampled_from(("unix", "tcp"))


@given(
    st.builds(
        ReattachConfig,
        protocol=st.text(),
        network=networks,
        addr=st.text(min_size=1),
        pid=st.integers(1, 2**22),
    )
)
def test_what_is_encoded_is_decoded_again(config: ReattachConfig) -> None:
    assert ReattachConfig.decode(config.encode()) == config


def test_the_record_of_nomad_is_read() -> None:
    text = '{"Addr":"/tmp/plugin1","Network":"unix","Pid":42,"Protocol":"grpc","New":1}'
    assert ReattachConfig.decode(text) == ReattachConfig(
        protocol="grpc", network="unix", addr="/tmp/plugin1", pid=42
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"Protocol":"grpc","Network":"unix","Addr":"/a","Pid":"42"}',
        '{"Protocol":"grpc","Network":"unix","Addr":"/a","Pid":0}',
        '{"Protocol":"grpc","Network":"unix","Addr":"/a","Pid":true}',
        '{"Protocol":"grpc","Network":"udp","Addr":"/a","Pid":42}',
        '{"Protocol":"grpc","Network":"unix","Addr":"","Pid":42}',
        "[" * 100_000,
    ],
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ReattachError):
        ReattachConfig.decode(text)


@given(st.binary() | st.text())
def test_decoding_raises_nothing_but_its_own_error(data: bytes | str) -> None:
    with pytest.raises(ReattachError):
        ReattachConfig.decode(data)


async def test_nobody_listens_is_an_error(socket_dir: Path) -> None:
    config = ReattachConfig(
        protocol="grpc", network="unix", addr=str(socket_dir / "none"), pid=os.getpid()
    )
    with pytest.raises(ReattachError, match="nobody listens"):
        async with reattach(config):
            pass


async def test_a_reused_pid_is_never_taken_for_the_plugin(socket_dir: Path) -> None:
    """The stranger that has the pid now is not killed."""
    path = socket_dir / "s"
    stranger = await trio.lowlevel.open_process(["sleep", "1000"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        config = ReattachConfig(protocol="grpc", network="unix", addr=str(path), pid=stranger.pid)
        with pytest.raises(ReattachError, match=f"process {os.getpid()}, not {stranger.pid}"):
            async with reattach(config):
                pass
    os.unlink(path)
    assert stranger.poll() is None
    stranger.kill()
    await stranger.wait()


async def test_an_address_whose_owner_cannot_be_proven_is_refused() -> None:
    config = ReattachConfig(protocol="grpc", network="tcp", addr="127.0.0.1:1", pid=os.getpid())
    with pytest.raises(ReattachError, match="unix"):
        async with reattach(config):
            pass
