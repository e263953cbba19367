"""The log pipes of a task and their readers: Nomad's logmon with the terminal as its file.

Rules:
- Pipes exist and have a reader before the task starts, for a writer without a reader waits.
- A reader ends at the end of file, which comes when the last writer has closed; it never reopens.
- What the terminal does not take waits in the pipe, then the task waits: nothing is buffered here
  beyond one line per stream.

Source: nomad-protocol §7. Must not know: plugins, jobs.
"""

import os
import select
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import trio

Sink = Callable[[bytes], Awaitable[None]]
"""Takes output as it comes; may wait."""

CHUNK_BYTES = 65536
"""As much as a pipe holds by default (pipe(7))."""

FIFO_MODE = 0o600

MAX_LINE_BYTES = 16384
"""A longer line is passed on in pieces, so that a task cannot fill our memory."""


@contextmanager
def open_fifo(path: Path) -> Generator[int]:
    """Make the pipe and hold its read end for the length of the block; then both are gone.

    The read end does not block, and opening it waits for nobody.
    """
    os.mkfifo(path, FIFO_MODE)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        path.unlink(missing_ok=True)


async def copy_output(fd: int, sink: Sink) -> None:
    """Hand everything that comes out of the pipe to `sink`, until its end of file.

    Waits for the first writer however long it takes.
    """
    while chunk := await _receive(fd):
        await sink(chunk)


async def copy_lines(fd: int, sink: Sink, *, prefix: bytes) -> None:
    """The same line by line, each after `prefix`, so that several tasks can share a terminal."""
    rest = b""
    while chunk := await _receive(fd):
        *lines, rest = (rest + chunk).split(b"\n")
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        if lines:
            await sink(b"".join(b"%b%b\n" % (prefix, line) for line in lines))
    if rest:
        await sink(b"%b%b\n" % (prefix, rest))


async def _receive(fd: int) -> bytes:
    """What is in the pipe; empty at its end of file.

    Reads only when the pipe is readable: before the first writer came, a read says "end of file".
    """
    while True:
        await trio.lowlevel.wait_readable(fd)
        try:
            return os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            continue  # another reader was faster


class Terminal:
    """Where output goes: a file descriptor that may be slow, or gone.

    Written from a thread, because making somebody else's terminal non-blocking would change it for
    every process that shares it. One write at a time: texts do not run into each other.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._turn = trio.Lock()

    async def write(self, text: bytes) -> None:
        """Write all of `text`.

        If cancelled while the terminal takes nothing, the thread is left to itself; nothing else
        can be written then.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        async with self._turn:
            await trio.to_thread.run_sync(_write_all, self._fd, text, abandon_on_cancel=True)


def _write_all(fd: int, text: bytes) -> None:
    view = memoryview(text)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody who shares the terminal made it non-blocking
            select.select([], [fd], [])
