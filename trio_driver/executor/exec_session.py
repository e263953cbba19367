"""One session: a command that a user or a check runs in the task, and what goes to it and comes
from it.

    request --> done, or refused --> frames both ways --> the exit

Rules:
- It is run as the task's first workload is, in a cgroup of its own below the run's. Its end, of
  whatever kind, ends all that it left.
- All output precedes the exit, and so does the end of all that was left. With a terminal the
  session ends with its main process; without one, with that and the end of both streams: for
  whoever holds them, the session waits.
- Nothing is buffered: a client that does not read makes the processes wait, a process that does not
  read makes the client wait. So the client's end is looked for by itself, not by reading.

Must not know: RPCs, Nomad's timeouts.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from google.protobuf.message import Message

from trio_driver._proto import driver_pb2, executor_pb2
from trio_driver.executor.command import find_session_command
from trio_driver.executor.exec_text import check_texts
from trio_driver.executor.frames import FrameError, receive_message, send_message
from trio_driver.executor.launch import LaunchPlan
from trio_driver.executor.session_io import SessionIo, open_session_io
from trio_driver.executor.session_scope import SessionScope, make_scope
from trio_driver.executor.task_run import TaskRun
from trio_driver.executor.workload import Workload, open_workload
from trio_driver.linux import identify, wait_hung_up
from trio_driver.model import (
    ConfigInvalidError,
    DriverError,
    LaunchError,
    NotRunningError,
    exit_result,
)

LOGGER = logging.getLogger("trio_driver.executor")

MAX_INPUT_BYTES = 1 << 16
"""Most that a frame of input may be: what is held of it here."""

EMPTY_LIMIT_S = 5.0
"""How long what a session left may take to die before it is left to the end of the task."""


class SessionStartError(DriverError):
    """The command could not be started; the text names the step and its value."""


async def serve_session(
    task_run: TaskRun, request: executor_pb2.ExecRequest, stream: trio.SocketStream
) -> None:
    """Run the command until it has ended, or the other end of `stream` is gone.

    Raises:
        ConfigInvalidError, NotRunningError, SessionStartError: nothing runs, and nothing was sent.

    If cancelled, all that the session left is killed.
    """
    try:
        plan = _plan(task_run, request)
        with open_session_io(
            tty=request.tty,
            merge_stderr=request.merge_stderr,
            no_stdin=request.no_stdin,
            owner=plan.credentials,
        ) as io:
            async with _open_scope(task_run) as scope:
                plan = scope.fill(io.fill(plan), task_run.kill_path)
                async with open_workload(plan, task_run.children) as workload:
                    io.close_theirs()
                    scope.leader = identify(workload.pid)
                    session = _Session(io, scope, workload, stream)
                    await session.run(limit_s=request.limit_s)
    except LaunchError as error:
        raise SessionStartError(f"failed to start command: {error}") from error


def _plan(task_run: TaskRun, request: executor_pb2.ExecRequest) -> LaunchPlan:
    """As the task's first workload is run, but another program."""
    if not request.command:
        raise ConfigInvalidError("error cmd must have at least one value")
    if not task_run.is_running:
        raise NotRunningError("the task is not running")
    if task_run.main is not None:
        base = task_run.main.plan_inside()
    else:
        base = task_run.launch_plan(
            "", [], env=task_run.spec.env, work_dir="", oom_score_adj=0, stdin=-1
        )
    check_texts(command=request.command)
    path = find_session_command(
        request.command[0],
        work_dir=base.work_dir,
        task_dir=task_run.spec.task_dir,
        path=task_run.limits.path,
    )
    env = dict(base.env)
    if request.user_env and base.credentials is not None:
        name, home = base.credentials.name, base.credentials.home
        env |= {"USER": name, "LOGNAME": name, "HOME": home}
    return replace(base, path=path, argv=list(request.command), env=env, pass_fds=())


@asynccontextmanager
async def _open_scope(task_run: TaskRun) -> AsyncGenerator[SessionScope]:
    scope = make_scope(task_run.kill_path)
    try:
        yield scope
    finally:
        scope.kill_nowait()
        # Shield: a session that was cancelled must not leave processes to the task.
        # Ends by: SIGKILL; what outlives it for EMPTY_LIMIT_S ends with the task.
        with trio.move_on_after(EMPTY_LIMIT_S + 1, shield=True):
            if not await scope.close(limit_s=EMPTY_LIMIT_S):
                LOGGER.error("processes of a session outlived SIGKILL: %s", scope.path)


class _Session:
    """A session whose command runs."""

    def __init__(
        self, io: SessionIo, scope: SessionScope, workload: Workload, stream: trio.SocketStream
    ) -> None:
        self._io = io
        self._scope = scope
        self._workload = workload
        self._stream = stream
        self._turn = trio.Lock()
        """Of whoever sends: frames must not mix."""
        self._gone = trio.CancelScope()
        """Cancelled when there is nobody to talk to any more."""

    async def run(self, *, limit_s: float) -> None:
        """Talk to the client until the command has ended or nobody listens.

        Args:
            limit_s: everything is killed then; 0 is never.
        """
        with self._gone:
            await self._send(executor_pb2.Answer(done=executor_pb2.Done()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_with_client)
                nursery.start_soon(self._take_input)
                if limit_s > 0:
                    nursery.start_soon(self._end_after, limit_s)
                async with trio.open_nursery() as outputs:
                    for name in self._io.outputs:
                        outputs.start_soon(self._give_output, name)
                    task_exit = await self._workload.wait()
                    if self._io.is_terminal:
                        await self._end()
                await self._end()  # who is told the exit finds nothing of the session
                result = exit_result(task_exit, oom_killed=False)
                await self._send(driver_pb2.ExecTaskStreamingResponse(exited=True, result=result))
                nursery.cancel_scope.cancel()

    async def _give_output(self, name: str) -> None:
        """Pass on one stream until its end, and tell that."""
        while data := await self._io.read(name):
            await self._send(_output(name, data=data))
        await self._send(_output(name, close=True))

    async def _take_input(self) -> None:
        """Do what the client sends, until it sends no more."""
        try:
            while (message := await self._receive()) is not None:
                await self._obey(message)
        except FrameError as error:
            LOGGER.warning("a session is ended: %s", error)
            self._gone.cancel()
        except trio.BrokenResourceError:
            self._gone.cancel()

    async def _receive(self) -> driver_pb2.ExecTaskStreamingRequest | None:
        return await receive_message(
            self._stream, driver_pb2.ExecTaskStreamingRequest, max_bytes=MAX_INPUT_BYTES
        )

    async def _obey(self, message: driver_pb2.ExecTaskStreamingRequest) -> None:
        if message.HasField("setup") or (message.HasField("tty_size") and not self._io.is_terminal):
            raise FrameError("input that this session does not take")
        if message.HasField("tty_size"):
            size = message.tty_size
            self._io.resize(rows=size.height, columns=size.width)
        await self._io.write(message.stdin.data)
        if message.stdin.close:
            await self._io.end_input()

    async def _end_with_client(self) -> None:
        await wait_hung_up(self._stream.socket.fileno())
        self._gone.cancel()

    async def _end_after(self, limit_s: float) -> None:
        await trio.sleep(limit_s)
        await self._end()

    async def _end(self) -> None:
        """Kill what lives of the session; what it wrote is passed on, and then it is over."""
        self._scope.kill_nowait()
        await self._scope.close(limit_s=EMPTY_LIMIT_S)
        self._io.over.set()

    async def _send(self, message: Message) -> None:
        try:
            async with self._turn:
                await send_message(self._stream, message)
        except trio.BrokenResourceError:
            self._gone.cancel()
            await trio.lowlevel.checkpoint()  # cancelled


def _output(name: str, *, data: bytes = b"", close: bool = False) -> Message:
    operation = driver_pb2.ExecTaskStreamingIOOperation(data=data, close=close)
    if name == "stdout":
        return driver_pb2.ExecTaskStreamingResponse(stdout=operation)
    return driver_pb2.ExecTaskStreamingResponse(stderr=operation)
