"""Peers that send what costs them nothing: the other end stays small, and serves everybody else.

The other end is a process of its own (`victim.py`), so that its memory can be measured.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import subprocess
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from trio_driver.linux import listen_unix
from trio_driver.rpc import StatusCode

from .conftest import victim
from .probe import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY
from .probe_pb2 import Note
from .raw import PREFACE, WAIT_LIMIT_S, RawPeer, hf, message, request_headers

MIB = 1024 * 1024
ATTACK_S = 1.0
GROWTH_LIMIT_BYTES = 400 * MIB
"""What one connection may cost: its budget of 128 MiB, the wire's 16, and 16 384 calls that wait."""

WAITING_LIMIT_S = 5.0
"""How long an honest client may wait for its answer meanwhile, on a busy machine too."""

INITIAL_WINDOW, MAX_FRAME, TABLE_SIZE = 4, 5, 1


def nobody() -> RawPeer:
    return RawPeer(trio.testing.memory_stream_pair()[0])


def requests(path: str, *, first: bytes = b"", count: int = 4_000) -> Iterable[bytes]:
    """Calls of `path` that stay open, each beginning with the message `first`."""
    peer = nobody()
    for number in range(count):
        stream_id = 2 * number + 1
        head = peer.headers(stream_id, request_headers(path)).serialize()
        yield head + (peer.data(stream_id, first).serialize() if first else b"")


def settings(values: dict[int, int]) -> bytes:
    frame = hf.SettingsFrame(0)
    frame.settings = values
    return frame.serialize()


def window(stream_id: int, increment: int) -> bytes:
    frame = hf.WindowUpdateFrame(stream_id)
    frame.window_increment = increment
    return frame.serialize()


def header_bomb() -> Iterable[bytes]:
    """A long field in the table, and thousands of references to it in each block."""
    peer = nobody()
    peer.encoder.header_table_size = 4_096
    yield peer.headers(1, [*request_headers(), ("x", "v" * 3_900)]).serialize()
    for stream_id in itertools.count(3, 2):
        head = hf.HeadersFrame(stream_id, b"\xbe" * 16_000)
        head.flags.add("END_HEADERS")
        yield head.serialize()


def endless_headers() -> Iterable[bytes]:
    head = hf.HeadersFrame(1, b"\x82")
    return itertools.chain([head.serialize()], forever(hf.ContinuationFrame(1, b"\x82")))


def forever(frame: Any) -> Iterable[bytes]:
    return itertools.repeat(frame.serialize() * 50)


def data(stream_id: int, payload: bytes = b"", pad: int = 0) -> bytes:
    frame = hf.DataFrame(stream_id, payload)
    if pad:
        frame.pad_length = pad
        frame.flags.add("PADDED")
    return frame.serialize()


def huge_messages() -> Iterable[bytes]:
    """32 MB announced on every stream, and sent until the windows are used up."""
    yield from requests(CLIENT_STREAM, first=b"\0\1\xff\0\0\0" + bytes(16_000))
    yield from (data(i, bytes(16_000)) for i in itertools.cycle(range(1, 8_000, 2)))


def announced_and_waited_for() -> Iterable[bytes]:
    """The same on calls whose handlers wait for the message, so that it is credited."""
    yield from requests(UNARY, first=b"\0\1\xff\0\0", count=100)
    yield from (data(i, bytes(16_000)) for i in itertools.cycle(range(1, 200, 2)))


def gzip_bombs() -> Iterable[bytes]:
    peer, bomb = nobody(), gzip.compress(bytes(31 * MIB))
    prefixed = b"\1" + len(bomb).to_bytes(4) + bomb
    for stream_id in range(1, 100, 2):
        yield peer.headers(stream_id, request_headers(grpc_encoding="gzip")).serialize()
        for at in range(0, len(prefixed), 16_000):
            yield peer.data(stream_id, prefixed[at : at + 16_000]).serialize()


def resets() -> Iterable[bytes]:
    peer = nobody()
    for stream_id in itertools.count(1, 2):
        yield peer.request(stream_id) + hf.RstStreamFrame(stream_id, 8).serialize()


NOTE = message(Note(data=bytes(1_000), count=1_000_000))
NO_WINDOW = settings({INITIAL_WINDOW: 0})

FLOODS: dict[str, Callable[[], Iterable[bytes]]] = {
    "settings": lambda: forever(hf.SettingsFrame(0)),
    "pings": lambda: forever(hf.PingFrame(0, b"12345678")),
    "priorities": lambda: forever(hf.PriorityFrame(1, depends_on=3)),
    "unknown frames": lambda: itertools.repeat(b"\0\0\0\xee\0\0\0\0\1" * 50),
    "goaways": lambda: forever(hf.GoAwayFrame(0, 0, 0)),
    "window updates": lambda: itertools.repeat(window(0, 1) * 50),
    "window overflow": lambda: itertools.repeat(window(0, 2**31 - 1)),
    "continuations": endless_headers,
    "header bomb": header_bomb,
    "huge frame announced": lambda: itertools.repeat(b"\xff" * 1_000),
    "table size": lambda: itertools.repeat(settings({TABLE_SIZE: 2**31, MAX_FRAME: 2**24 - 1})),
}

CLIENT_FLOODS: dict[str, Callable[[], Iterable[bytes]]] = FLOODS | {
    "rapid resets": resets,
    "empty data": lambda: [*requests(BIDI, count=1), *[data(1) * 50] * 10_000],
    "padding": lambda: [*requests(BIDI, count=1), *[data(1, pad=1) * 50] * 10_000],
    "windows of 0 for ever": lambda: [NO_WINDOW, *requests(SERVER_STREAM, first=NOTE)],
    "streams that stay open": lambda: requests(BIDI),
    "huge messages": huge_messages,
    "huge messages that are waited for": announced_and_waited_for,
    "gzip bombs": gzip_bombs,
    "calls of nothing": lambda: requests("/no/body", count=10**9),
}


def answer_begins() -> bytes:
    head = [(":status", "200"), ("content-type", "application/grpc")]
    return nobody().headers(1, head).serialize()


SERVER_FLOODS: dict[str, Callable[[], Iterable[bytes]]] = FLOODS | {
    "empty data": lambda: [answer_begins(), *[data(1) * 50] * 10_000],
    "a message that never ends": lambda: itertools.chain(
        [answer_begins(), data(1, b"\0\1\xff\0\0")],
        itertools.repeat(data(1, bytes(16_000))),
    ),
    "messages without end": lambda: itertools.chain(
        [answer_begins()],
        itertools.repeat(data(1, message(Note(count=1)) * 1_000)),
    ),
    "silence": list,
}


class Memory:
    """The largest that a process has been since this was made."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.folder = Path(f"/proc/{process.pid}")
        (self.folder / "clear_refs").write_text("5")
        self.before_bytes = psutil.Process(process.pid).memory_info().rss

    @property
    def growth_bytes(self) -> int:
        lines = (self.folder / "status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) * 1024 - self.before_bytes


async def flood(stream: trio.SocketStream, pieces: Iterable[bytes]) -> None:
    """Send until there is no more, the other end has had enough, or the time is over."""

    async def drop_answers() -> None:
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass

    with trio.move_on_after(ATTACK_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drop_answers)
            with suppress(trio.BrokenResourceError):
                for batch in batches(pieces):
                    await stream.send_all(batch)
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()


def batches(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """The pieces, some 32 kB at a time."""
    batch = b""
    for piece in pieces:
        batch += piece
        if len(batch) > 32_000:
            yield batch
            batch = b""
    yield batch


async def witness(path: Path, until: trio.Event) -> float:
    """Make calls on a connection of its own; give the longest time that one took, in seconds."""
    longest_s = 0.0
    async with await trio.open_unix_socket(str(path)) as stream:
        peer = RawPeer(stream)
        await peer.start(is_client=True)
        for stream_id in itertools.count(1, 2):
            before_s = trio.current_time()
            assert await peer.call(stream_id) == 0
            longest_s = max(longest_s, trio.current_time() - before_s)
            if until.is_set():
                return longest_s
            await trio.sleep(0.01)
    raise AssertionError


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[tuple[Path, subprocess.Popen[bytes]]]:
    path = tmp_path_factory.mktemp("hostile") / "s"
    with victim("serve", path) as process:
        yield path, process


@pytest.mark.parametrize("name", CLIENT_FLOODS)
async def test_a_hostile_client_costs_little_memory_and_nobody_waits_for_it(
    name: str, server: tuple[Path, subprocess.Popen[bytes]]
) -> None:
    path, process = server
    memory = Memory(process)
    over = trio.Event()
    waited_s: list[float] = []

    async def watch() -> None:
        waited_s.append(await witness(path, over))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        async with await trio.open_unix_socket(str(path)) as stream:
            pieces = itertools.chain([PREFACE + settings({})], CLIENT_FLOODS[name]())
            await flood(stream, pieces)
        over.set()
    assert memory.growth_bytes < GROWTH_LIMIT_BYTES
    assert waited_s[0] < WAITING_LIMIT_S
    assert process.poll() is None


@pytest.mark.parametrize("words", [b"", PREFACE[:9], PREFACE, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_clients_that_say_little_and_stay_are_in_nobodys_way(
    words: bytes, server: tuple[Path, subprocess.Popen[bytes]]
) -> None:
    path, _ = server
    over = trio.Event()
    over.set()
    async with contextlib.AsyncExitStack() as clients:
        for _ in range(200):
            stream = await clients.enter_async_context(await trio.open_unix_socket(str(path)))
            await stream.send_all(words)
        assert await witness(path, over) < WAITING_LIMIT_S


@pytest.mark.parametrize("name", SERVER_FLOODS)
async def test_a_hostile_server_costs_its_client_little_memory_and_no_more_time_than_its_deadlines(
    name: str, socket_path: Path
) -> None:
    listener = await listen_unix(socket_path)
    async with listener, trio.open_nursery() as nursery:

        async def serve_one() -> None:
            async with await listener.accept() as stream:
                await flood(stream, itertools.chain([settings({})], SERVER_FLOODS[name]()))

        nursery.start_soon(serve_one)
        with victim("call", socket_path) as process:
            memory = Memory(process)
            assert process.stdout is not None
            with trio.fail_after(WAIT_LIMIT_S):
                ended = await trio.to_thread.run_sync(process.stdout.readline)
            assert ended.decode().strip() in set(StatusCode.__members__) - {"OK"}
            assert memory.growth_bytes < GROWTH_LIMIT_BYTES
        nursery.cancel_scope.cancel()
