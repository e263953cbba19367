"""An exec session as Nomad's client holds one: the frames that it sends, and what came back."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from trio_driver._proto import driver_pb2
from trio_driver._proto.interfaces import ClientCall

from .plugin import RunningPlugin
from .task import Task
from .waiting import LIMIT_S

Request = driver_pb2.ExecTaskStreamingRequest
Response = driver_pb2.ExecTaskStreamingResponse


class Session:
    """An open ExecTaskStreaming call; see `open_session`."""

    def __init__(self, call: ClientCall[Request, Response]) -> None:
        self.call = call
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.closed: list[str] = []
        """Streams whose end was told."""
        self.exit_code: int | None = None
        self._answers = aiter(call)

    async def send(self, data: bytes = b"", *, close: bool = False) -> None:
        stdin = driver_pb2.ExecTaskStreamingIOOperation(data=data, close=close)
        await self.call.send(Request(stdin=stdin))

    async def resize(self, *, rows: int, columns: int) -> None:
        size = Request.TerminalSize(height=rows, width=columns)
        await self.call.send(Request(tty_size=size))

    async def heartbeat(self) -> None:
        await self.call.send(Request())

    async def receive(self) -> bool:
        """Take in one frame; False at the end of the stream."""
        try:
            answer = await anext(self._answers)
        except StopAsyncIteration:
            return False
        assert self.exit_code is None, "nothing may follow the exit"
        kinds = [answer.HasField("stdout"), answer.HasField("stderr"), answer.exited]
        assert kinds.count(True) == 1, f"one kind a frame: {answer}"
        self.stdout += answer.stdout.data
        self.stderr += answer.stderr.data
        for name in ("stdout", "stderr"):
            operation: driver_pb2.ExecTaskStreamingIOOperation = getattr(answer, name)
            assert len(operation.data) <= 4096
            assert not (operation.data and name in self.closed), "data after the end of its stream"
            self.closed += [name] if operation.close else []
        if answer.exited:
            self.exit_code = answer.result.exit_code
        return True

    async def wait_for(self, text: bytes) -> None:
        """Wait until stdout holds `text`."""
        with trio.fail_after(LIMIT_S):
            while text not in self.stdout:
                assert await self.receive(), f"the end, and no {text!r} in {bytes(self.stdout)!r}"

    async def finish(self) -> "Session":
        """Take in everything, until the stream ends with OK."""
        with trio.fail_after(LIMIT_S + 10):
            while await self.receive():
                pass
        return self

    @property
    def result(self) -> tuple[bytes, bytes, int | None]:
        """Both outputs and the exit code so far."""
        return bytes(self.stdout), bytes(self.stderr), self.exit_code


@asynccontextmanager
async def open_session(
    plugin: RunningPlugin, task: Task, *command: str, tty: bool = False
) -> AsyncGenerator[Session]:
    """Run `command` in the task; leaving the block cancels the RPC if it is not over."""
    async with plugin.driver.ExecTaskStreaming() as call:
        setup = Request.Setup(task_id=task.id, command=command, tty=tty)
        await call.send(Request(setup=setup))
        yield Session(call)


async def run_in(
    plugin: RunningPlugin,
    task: Task,
    script: str,
    *,
    stdin: bytes = b"",
    tty: bool = False,
) -> tuple[bytes, bytes, int | None]:
    """Run a shell script in the task as Nomad's conformance tests do: a terminal is sized twice and its
    input stays open, pipes are closed; nothing more is sent."""
    async with open_session(plugin, task, "/bin/sh", "-c", script, tty=tty) as session:
        if tty:
            await session.resize(rows=50, columns=40)
            await session.resize(rows=100, columns=100)
        await session.send(stdin)
        if not tty:
            await session.send(close=True)
        return (await session.finish()).result
