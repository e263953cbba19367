"""A server that is told to end by a signal ends when its calls have, and with success."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from .cases import case
from .conftest import victim
from .probe_pb2 import Note
from .raw import RawPeer, hf


@pytest.fixture
def server(socket_path: Path) -> Generator[subprocess.Popen[bytes]]:
    with victim("serve", socket_path) as process:
        yield process


@case("graceful_shutdown_sigterm")
async def test_sigterm_is_goaway_and_calls_in_flight_complete(
    server: subprocess.Popen[bytes], socket_path: Path
) -> None:
    assert server.stdout is not None
    async with await trio.open_unix_socket(str(socket_path)) as stream:
        peer = RawPeer(stream)
        await peer.start(is_client=True)
        await peer.send(peer.request(1, Note(text="wait")))
        assert await trio.to_thread.run_sync(server.stdout.readline) == b"started\n"
        server.send_signal(signal.SIGTERM)
        goaway = await peer.next_of(hf.GoAwayFrame)
        assert (goaway.last_stream_id, goaway.error_code) == (1, 0)
        assert server.stdin is not None
        os.write(server.stdin.fileno(), b"\n")
        assert await peer.status(1) == 0
        await peer.wait_closed()
    assert await trio.to_thread.run_sync(server.wait, 20) == 0
