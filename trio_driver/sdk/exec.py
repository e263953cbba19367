"""ExecTask and ExecTaskStreaming: a command in a running task, for a check or for a user.

Rules (nomad-protocol §4.10, §4.11):
- The session is the executor's. Here its frames are passed on, and whatever ends the RPC ends it.
- A client that sends heartbeats and then nothing at all is gone: an agent notices that its user went
  away only when it has something to pass on. One that never sent any owes none.
- The end of the client's messages is not the end of the session.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import trio

from trio_driver._proto import driver_pb2
from trio_driver.executor import ExecSession, ExecSpec, open_exec
from trio_driver.model import ConfigInvalidError, DriverError, ExecutorLostError, NotRunningError
from trio_driver.sdk.edge import driver_errors_as_status
from trio_driver.sdk.tasks import KnownTask, Tasks
from trio_driver.state import Run

Request = driver_pb2.ExecTaskStreamingRequest
Response = driver_pb2.ExecTaskStreamingResponse

OUTPUT_LIMIT_BYTES = 4096
"""Of a check's output the last ones are kept. Source: Nomad, client/structs CheckBufSize."""

SILENCE_LIMIT_S = 60.0
"""After a heartbeat; Nomad's command line and UI send one every 10 s."""

ANSWER_LIMIT_S = 10.0
"""After a command's timeout, for the executor to kill it and say so."""


class ClientSilentError(DriverError):
    """The client's heartbeats have stopped."""


async def exec_task(
    tasks: Tasks, task_id: str, command: Sequence[str], *, limit_s: float
) -> driver_pb2.ExecTaskResponse:
    """Run a command in the task and give its exit and the end of its output.

    Args:
        limit_s: the command and all that it started are killed then, and the exit tells that; 0 is
            never.

    Raises:
        ConfigInvalidError, TaskNotFoundError, NotRunningError: there is nothing to run, or nowhere.
        ExecutorRefusedError: it could not be started.
        ExecutorLostError: the executor is gone, or does not answer.

    If cancelled, the command is killed.
    """
    if limit_s < 0:
        raise ConfigInvalidError(f"timeout {limit_s:g} s: must not be negative")
    run = await _running(tasks, task_id, command)
    spec = ExecSpec(
        command=command, merge_stderr=True, no_stdin=True, user_env=False, limit_s=limit_s
    )
    response = driver_pb2.ExecTaskResponse()
    tail = bytearray()
    with trio.move_on_after(limit_s + ANSWER_LIMIT_S if limit_s else math.inf):
        async with open_exec(run, spec) as session:
            async for output in session:
                tail += output.stdout.data
                del tail[:-OUTPUT_LIMIT_BYTES]
                if output.exited:
                    response.result.CopyFrom(output.result)
        response.stdout = bytes(tail)
        return response
    raise ExecutorLostError(
        f"the executor did not end the command within {limit_s + ANSWER_LIMIT_S:g} s"
    )


@asynccontextmanager
async def exec_streaming(
    tasks: Tasks, requests: AsyncIterator[Request]
) -> AsyncGenerator[AsyncIterator[Response]]:
    """The frames of a session, which the first of `requests` asks for and the others feed.

    Raises:
        RpcError: it could not be started, was fed what it does not take, or was lost.

    If cancelled, all that runs in it is killed.
    """
    with driver_errors_as_status():
        setup = await _receive_setup(requests)
        run = await _running(tasks, setup.task_id, setup.command)
        async with (
            open_exec(run, ExecSpec(command=setup.command, tty=setup.tty)) as session,
            trio.open_nursery() as nursery,
            aclosing(_outputs(session)) as outputs,
        ):
            nursery.start_soon(feed, session, requests, setup.tty)
            yield outputs
            nursery.cancel_scope.cancel()


async def _receive_setup(requests: AsyncIterator[Request]) -> Request.Setup:
    async for request in requests:
        if request.HasField("setup"):
            return request.setup
        raise ConfigInvalidError("first message should always be setup")
    raise ConfigInvalidError("failed to receive initial message: EOF")


async def _running(tasks: Tasks, task_id: str, command: Sequence[str]) -> Run:
    if not command:
        raise ConfigInvalidError("error cmd must have at least one value")
    task: KnownTask = await tasks.get(task_id)
    if task.ended.is_set():
        raise NotRunningError(f"task {task_id!r} has ended")
    return task.run


async def _outputs(session: ExecSession) -> AsyncGenerator[Response]:
    with driver_errors_as_status():
        async for output in session:
            yield output


async def feed(session: ExecSession, requests: AsyncIterator[Request], tty: bool) -> None:
    """Pass on what the client sends, until it sends no more."""
    with driver_errors_as_status():
        silence = trio.CancelScope()
        with silence:
            beats = False
            async for request in requests:
                silence.deadline = math.inf  # a process that does not read is no silent client
                beats = beats or not (request.HasField("stdin") or request.HasField("tty_size"))
                await _pass_on(session, request, tty)
                silence.deadline = trio.current_time() + SILENCE_LIMIT_S if beats else math.inf
        if silence.cancelled_caught:
            raise ClientSilentError(f"no heartbeat for {SILENCE_LIMIT_S:g} s: the client is gone")
        if not tty:
            await session.close_stdin()


async def _pass_on(session: ExecSession, request: Request, tty: bool) -> None:
    if request.HasField("tty_size"):
        if not tty:
            raise ConfigInvalidError("attempted to resize a non-tty session")
        await session.resize(rows=request.tty_size.height, columns=request.tty_size.width)
    if request.stdin.data:
        await session.write_stdin(request.stdin.data)
    if request.stdin.close:
        await session.close_stdin()
