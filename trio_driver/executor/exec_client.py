"""A session as its client sees it: a plugin for Nomad, or a command line without one.

    async with open_exec(run, ExecSpec(command=["/bin/sh"], tty=True)) as session:
        await session.write_stdin(b"exit 3\n")
        async for output in session:
            ...                         # Nomad's frames; the last one tells the exit

Rules:
- The session lives in the task's executor. Leaving the block ends it, whatever it runs.
- One task may send while another one receives.
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from trio_driver._proto import driver_pb2, executor_pb2
from trio_driver.executor.client import ask_over
from trio_driver.executor.frames import FrameError, receive_message, send_message
from trio_driver.model import ExecutorLostError
from trio_driver.state import Run

START_LIMIT_S = 15.0
"""How long the executor may take from the request to the exec; some milliseconds are normal."""

PIECE_BYTES = 1 << 15
"""Most that is sent in one frame of input."""

Input = driver_pb2.ExecTaskStreamingRequest
Output = driver_pb2.ExecTaskStreamingResponse
Operation = driver_pb2.ExecTaskStreamingIOOperation


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """What to run in a task, and how."""

    command: Sequence[str]
    tty: bool = False
    """With a terminal of its own; all output is stdout then."""
    merge_stderr: bool = False
    """Without a terminal: stderr goes where stdout goes."""
    no_stdin: bool = False
    """Without a terminal: nothing will be sent, the command reads an empty stdin."""
    user_env: bool = True
    """USER, LOGNAME and HOME are those of the task's user."""
    limit_s: float = 0.0
    """Everything of the session is killed then, and the exit tells so; 0 is never."""

    def request(self) -> executor_pb2.Request:
        """The request to the executor."""
        fields = executor_pb2.ExecRequest(
            command=self.command,
            tty=self.tty,
            merge_stderr=self.merge_stderr,
            no_stdin=self.no_stdin,
            user_env=self.user_env,
            limit_s=self.limit_s,
        )
        return executor_pb2.Request(exec=fields)


class ExecSession:
    """A session whose command runs; iterating gives its output, the exit last."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._has_ended = False

    async def write_stdin(self, data: bytes) -> None:
        """Send input; waits while the command does not read. Nothing happens once it has ended.

        If cancelled, a part may have been sent, and nothing more can be.
        """
        for begin in range(0, len(data), PIECE_BYTES):
            piece = data[begin : begin + PIECE_BYTES]
            await self._send(Input(stdin=Operation(data=piece)))

    async def close_stdin(self) -> None:
        """End the input; at a terminal, as if that was typed."""
        await self._send(Input(stdin=Operation(close=True)))

    async def resize(self, *, rows: int, columns: int) -> None:
        """Give the terminal a size. Only for a session that has one."""
        size = Input.TerminalSize(height=rows, width=columns)
        await self._send(Input(tty_size=size))

    async def _send(self, message: Input) -> None:
        try:
            await send_message(self._stream, message)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()  # who receives knows why

    def __aiter__(self) -> "ExecSession":
        return self

    async def __anext__(self) -> Output:
        """The next frame; iteration ends after the one that tells the exit.

        Raises:
            ExecutorLostError: the session ended without one: the task's executor is gone.
        """
        if self._has_ended:
            raise StopAsyncIteration
        try:
            output = await receive_message(self._stream, Output)
        except (FrameError, trio.BrokenResourceError) as error:
            raise ExecutorLostError(f"the executor ended the session: {error}") from error
        if output is None:
            raise ExecutorLostError("the executor ended before the command did")
        self._has_ended = output.exited
        return output


@asynccontextmanager
async def open_exec(run: Run, spec: ExecSpec) -> AsyncGenerator[ExecSession]:
    """Run a command in the task of `run` for the length of the block.

    Raises:
        ExecutorRefusedError: it was not started; the text is for the user.
        ExecutorLostError: nobody listens, or there was no answer within `START_LIMIT_S`.

    If cancelled, or left in any other way, the executor kills all that the command left.
    """
    what = "start the command"
    try:
        stream = await trio.open_unix_socket(os.fspath(run.socket_path))
    except OSError as error:
        raise ExecutorLostError(f"the executor did not {what}: {error.strerror}") from error
    async with stream:
        try:
            with trio.fail_after(START_LIMIT_S):
                await ask_over(stream, spec.request(), what)
        except trio.TooSlowError as error:
            raise ExecutorLostError(
                f"the executor did not {what} within {START_LIMIT_S:g} s"
            ) from error
        yield ExecSession(stream)
