"""The task's stdout and stderr: Nomad's log pipes, opened so that a hostile task cannot redirect
us.

Rules (nomad-protocol §7):
- The write end is opened first, for ENXIO means that nobody reads yet; then a spare read end of the
  same pipe, never read, so that writers wait and do not die when the log reader does.
- All ends are dropped when the task's processes are gone: the reader must see the end of the file.
- The directory is the task's to write. It is walked without following a link, and what is there
  must be a FIFO.
"""

import os
import select
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import trio

from trio_driver.linux import is_pipe_full, open_fifo_reader, open_fifo_writer, queued_bytes
from trio_driver.model import LaunchError, TaskSpec

READER_LIMIT_S = 10.0
"""How long to wait for Nomad's log reader, which normally opens the pipe before StartTask is
sent."""

READER_PAUSE_S = 0.01
"""Between two looks: opening a FIFO to write cannot be waited for without blocking a thread."""

STUCK_AFTER_S = 30.0
"""A pipe that is full and has not moved for this long has lost its reader."""


@dataclass(frozen=True, slots=True)
class LogPipe:
    """One stream of a task's output; `spare` is -1 where there is no pipe."""

    name: str
    writer: int
    spare: int = -1

    def queued_bytes_if_full(self) -> int | None:
        """How much waits in a pipe that takes no more; None while it takes."""
        if self.spare < 0 or not is_pipe_full(self.writer):
            return None
        return queued_bytes(self.spare)

    async def write(self, data: bytes) -> None:
        """Write all of `data`; waits while the pipe is full.

        If cancelled, a part may have been written.
        """
        rest = memoryview(data)
        while rest:
            if self.spare >= 0:
                await trio.lowlevel.wait_writable(self.writer)
            # The task shares the pipe, so it stays blocking; but a writable pipe has room for one atomic write.
            rest = rest[os.write(self.writer, rest[: select.PIPE_BUF]) :]


@dataclass(frozen=True, slots=True)
class Output:
    """Where a task's processes write."""

    stdout: LogPipe
    stderr: LogPipe


async def open_output(spec: TaskSpec, stack: ExitStack) -> Output:
    """Open both log pipes; they are closed by `stack`.

    Raises:
        LaunchError: there is no pipe at the path, or nobody reads it.

    If cancelled, nothing is left open that `stack` does not close.
    """
    stdout = await _open_log_pipe("stdout_path", spec.stdout_path, spec.alloc_dir, stack)
    stderr = await _open_log_pipe("stderr_path", spec.stderr_path, spec.alloc_dir, stack)
    return Output(stdout, stderr)


async def _open_log_pipe(name: str, path: str, alloc_dir: str, stack: ExitStack) -> LogPipe:
    if path in ("", os.devnull):
        writer = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        stack.callback(os.close, writer)
        return LogPipe(name, writer)
    writer = await _wait_for_reader(name, path, alloc_dir)
    stack.callback(os.close, writer)
    spare = open_fifo_reader(writer)
    stack.callback(os.close, spare)
    return LogPipe(name, writer, spare)


async def _wait_for_reader(name: str, path: str, alloc_dir: str) -> int:
    with trio.move_on_after(READER_LIMIT_S):
        while True:
            if (writer := _try_open(name, path, alloc_dir)) is not None:
                return writer
            await trio.sleep(READER_PAUSE_S)
    raise LaunchError(
        name, path, f"nobody reads the log pipe after {READER_LIMIT_S:.0f} s", recoverable=True
    )


def _try_open(name: str, path: str, alloc_dir: str) -> int | None:
    # The allocation's directory is the agent's; everything below it the task may have replaced.
    below = os.path.relpath(path, alloc_dir) if alloc_dir else ".."
    base, below = (
        (os.path.dirname(path), os.path.basename(path))
        if below.startswith("..")
        else (alloc_dir, below)
    )
    try:
        with _open_directory(base) as dir_fd:
            return open_fifo_writer(dir_fd, below)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LaunchError(name, path, reason) from error


@contextmanager
def _open_directory(path: str) -> Generator[int]:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
