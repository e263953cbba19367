"""The plugin's side of an executor: one that is being opened, and one that Nomad owns.

    async with open_executor(spawner, state, request) as executor:
        await executor.start(start_request)   # done, or an error that names the step
        await call.reply(...)                 # written to the agent, or left by the exception
        executor.commit()                     # the one way out alive

Left by an exception or a cancellation, executor and workload are gone.

Rules:
- The block asks nobody's consent to end a run: the kernel is told first, and waited for after.
- Once committed nothing here ends a run; it is reached through its socket like one that was
  recovered.
"""

import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import trio

from trio_driver._proto import driver_pb2, executor_pb2
from trio_driver.executor.frames import FrameError, receive_message, send_message
from trio_driver.linux import signal_pidfd
from trio_driver.model import DriverError, ExecutorLostError
from trio_driver.spawner import SpawnedExecutor, Spawner, SpawnRequest
from trio_driver.state import (
    KILL_LIMIT_S,
    CommitRecord,
    Run,
    StateDirectory,
    destroy_run,
    kill_run,
)

REQUEST_LIMIT_S = 5.0
"""What an executor may take to answer anything but Start. One that is slower is stopped or wedged;
no request needs its consent."""


class ExecutorRefusedError(DriverError):
    """The executor's answer is no; the text is its own."""

    def __init__(self, refused: executor_pb2.Refused) -> None:
        super().__init__(refused.message)
        self.recoverable = refused.recoverable


class OpenExecutor:
    """A provisional executor, see `open_executor`."""

    def __init__(
        self, run: Run, spawned: SpawnedExecutor, stream: trio.abc.Stream, stack: ExitStack
    ) -> None:
        self.run = run
        self.process = spawned.process
        self.is_committed = False
        self.started: CommitRecord | None = None
        """What has been started; None before."""
        self._stream = stream
        self._stack = stack
        self._publish: Callable[[], None] | None = None
        """The commit mark, written and waiting for its name."""

    async def start(self, request: executor_pb2.StartRequest) -> None:
        """Start the task.

        Raises:
            ExecutorRefusedError: it did not start; the text names the failing step.
            ExecutorLostError: the executor ended meanwhile, or somebody destroyed the run.
        """
        answer = await ask_over(self._stream, executor_pb2.Request(start=request), "start the task")
        self.started = CommitRecord(answer.started.workload_pid, answer.started.started_at_s)
        # Between the answer to Nomad and the mark lies one rename, and no wait for a disk.
        try:
            self._publish = self._stack.enter_context(self.run.prepare_commit(self.started))
        except FileNotFoundError as error:
            raise ExecutorLostError("the run was destroyed while it started") from error

    def commit(self) -> None:
        """From here on Nomad owns the run, and the block's end does not end it. Never blocks.

        Raises:
            FileNotFoundError: somebody destroyed the run meanwhile.
        """
        if self._publish is None:
            raise ValueError("only a started run can be committed")
        self._publish()
        self.is_committed = True


@asynccontextmanager
async def open_executor(
    spawner: Spawner, state: StateDirectory, request: SpawnRequest
) -> AsyncGenerator[OpenExecutor]:
    """Fork an executor for the length of the block, or for longer if the block commits it.

    Raises:
        SpawnError: no spawner could fork one.
        StuckError: the block was left uncommitted, and processes outlive SIGKILL.

    If cancelled uncommitted, executor and workload are killed and waited for, at most
    `KILL_LIMIT_S`.
    """
    run = state.run_of(
        task_id=request.task_id, alloc_id=request.alloc_id, task_name=request.task_name
    )
    spawned = await spawner.spawn(request)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(spawned.control))
    with ExitStack() as stack:
        executor = OpenExecutor(run, spawned, stream, stack)
        try:
            yield executor
        finally:
            try:
                if not executor.is_committed:
                    await _end(state, run, spawned.pidfd)  # noqa: ASYNC102 - it has its own shield
            finally:
                os.close(spawned.pidfd)
                trio.lowlevel.notify_closing(spawned.control)
                spawned.control.close()


async def _end(state: StateDirectory, run: Run, pidfd: int) -> None:
    """Leave nothing of an uncommitted run."""
    kill_run(run)  # synchronous: nothing can come between
    signal_pidfd(pidfd, signal.SIGKILL)
    # Shield: a caller that was cancelled must not leave processes that die, but are not gone yet, and their files.
    # Ends by: SIGKILL; `destroy_run` gives up after KILL_LIMIT_S by itself.
    with trio.move_on_after(KILL_LIMIT_S + 1, shield=True):
        await trio.lowlevel.wait_readable(pidfd)
        await destroy_run(state, run)


async def ask_executor(run: Run, request: executor_pb2.Request, what: str) -> None:
    """Ask the executor of a run that lives for something that is answered at once.

    Args:
        what: what it is asked to do, for the error's text, as in "stop the task".

    Raises:
        ExecutorRefusedError: its answer is no.
        ExecutorLostError: nobody listens, or it did not answer within `REQUEST_LIMIT_S`.

    If cancelled, it may have been done.
    """
    try:
        with trio.fail_after(REQUEST_LIMIT_S):
            async with await trio.open_unix_socket(os.fspath(run.socket_path)) as stream:
                await ask_over(stream, request, what)
    except trio.TooSlowError as error:
        raise ExecutorLostError(
            f"the executor did not {what} within {REQUEST_LIMIT_S:g} s"
        ) from error
    except OSError as error:
        raise ExecutorLostError(f"the executor did not {what}: {error.strerror}") from error


@asynccontextmanager
async def attach_to_executor(run: Run) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """Look after the task of a run that lives, for the length of the block; gives what waits for
    the end of the connection.

    Raises:
        ExecutorRefusedError: its answer is no.
        ExecutorLostError: nobody listens, or it did not answer within `REQUEST_LIMIT_S`.
    """
    request = executor_pb2.Request(attach=executor_pb2.AttachRequest())
    try:
        async with await trio.open_unix_socket(os.fspath(run.socket_path)) as stream:
            with trio.fail_after(REQUEST_LIMIT_S):
                await ask_over(stream, request, "let a driver attach")

            async def wait_lost() -> None:
                with suppress(trio.BrokenResourceError):
                    await stream.receive_some(1)

            yield wait_lost
    except trio.TooSlowError as error:
        raise ExecutorLostError("the executor lets no driver attach") from error
    except OSError as error:
        raise ExecutorLostError(f"the executor is not there: {error.strerror}") from error


async def follow_stats(run: Run, *, interval_s: float) -> AsyncGenerator[driver_pb2.TaskStats]:
    """Statistics that the executor takes from its processes, until the task ends or we are
    cancelled.

    Raises:
        ExecutorLostError: nobody listens.
    """
    request = executor_pb2.Request(stats=executor_pb2.StatsRequest(interval_s=interval_s))
    try:
        async with await trio.open_unix_socket(os.fspath(run.socket_path)) as stream:
            await send_message(stream, request)
            while (answer := await receive_message(stream, executor_pb2.Answer)) is not None:
                yield answer.stats
    except (OSError, FrameError, trio.BrokenResourceError) as error:
        raise ExecutorLostError(f"the executor gives no statistics: {error}") from error


async def ask_over(
    stream: trio.abc.Stream, request: executor_pb2.Request, what: str
) -> executor_pb2.Answer:
    """As `ask_executor`, over a connection that is open; without a limit."""
    try:
        await send_message(stream, request)
        answer = await receive_message(stream, executor_pb2.Answer)
    except (FrameError, trio.BrokenResourceError) as error:
        raise ExecutorLostError(f"the executor did not {what}: {error or 'it ended'}") from error
    if answer is None:
        raise ExecutorLostError(f"the executor did not {what}: it ended")
    if answer.HasField("refused"):
        raise ExecutorRefusedError(answer.refused)
    return answer
