"""The grpcio peer as a fixture, and a socket path for each test."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

PEER = Path(__file__).with_name("grpcio_peer.py")


class Peer:
    """A process that runs grpcio; see grpcio_peer.py for what it can be asked."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._numbers = itertools.count()
        self._stdin = trio.lowlevel.FdStream(os.dup(process.stdin.fileno()))
        self._stdout = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
        self._sending = trio.Lock()
        self._waiting: dict[int, trio.Event] = {}
        self._replies: dict[int, Any] = {}

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Have the peer do something; give its result when it is done."""
        number = next(self._numbers)
        done = self._waiting[number] = trio.Event()
        line = json.dumps({"id": number, "do": do, **arguments})
        async with self._sending:
            await self._stdin.send_all(line.encode() + b"\n")
        with trio.fail_after(30):
            await done.wait()
        reply = self._replies.pop(number)
        assert "error" not in reply, reply["error"]
        return reply["result"]

    async def read_replies(self) -> None:
        buffer = b""
        async with self._stdin, self._stdout:
            async for data in self._stdout:
                *lines, buffer = (buffer + data).split(b"\n")
                for reply in map(json.loads, lines):
                    if (done := self._waiting.pop(reply["id"], None)) is not None:
                        self._replies[reply["id"]] = reply
                        done.set()


@contextmanager
def victim(what: str, path: Path) -> Generator[subprocess.Popen[bytes]]:
    """A process of victim.py that has written its first line: it serves, or is connected."""
    project = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("victim.py"), what, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(project), *sys.path])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() in (b"serving\n", b"connected\n")
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def start_peer() -> subprocess.Popen[bytes]:
    environment = os.environ | {"GRPC_VERBOSITY": "NONE"}
    return subprocess.Popen(
        [sys.executable, PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )


@pytest.fixture
async def peer(nursery: trio.Nursery) -> AsyncGenerator[Peer]:
    """A peer of this test's own."""
    process = start_peer()
    peer = Peer(process)
    nursery.start_soon(peer.read_replies)
    yield peer
    process.kill()
    process.communicate()


@pytest.fixture
def socket_path(tmp_path: Path) -> Generator[Path]:
    path = tmp_path / "s"
    yield path
    path.unlink(missing_ok=True)
