"""The plugin's side of an executor: one that is being opened, and one that Nomad owns.

    async with open_executor(spawner, state, request) as executor:   # left by an exception: executor and workload are gone
        await executor.start(start_request)                          # done, or an error that names the step
        await call.reply(...)                                        # written to the agent, or left by the exception
        executor.commit()                                            # the one way out alive

Rules:
- The block asks nobody's consent to end a run: the kernel is told first, and waited for after.
- Once committed nothing here ends a run; it is reached through its socket like one that was recovered.
"""

import os
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from trio_driver._proto import executor_pb2
from trio_driver._proto.executor_grpc import ExecutorStub
from trio_driver.executor.edge import executor_answers
from trio_driver.linux import signal_pidfd
from trio_driver.rpc import open_channel, open_unix_channel
from trio_driver.spawner import SpawnedExecutor, Spawner, SpawnRequest
from trio_driver.state import KILL_LIMIT_S, CommitRecord, Run, StateDirectory, destroy_run, kill_run

REQUEST_LIMIT_S = 2.0
"""What an executor may take to answer anything but Start. One that is slower is stopped or wedged; no request
needs its consent."""


class OpenExecutor:
    """A provisional executor, see `open_executor`."""

    def __init__(self, run: Run, spawned: SpawnedExecutor, stub: ExecutorStub) -> None:
        self.run = run
        self.process = spawned.process
        self.is_committed = False
        self.started: CommitRecord | None = None
        """What has been started; None before."""
        self._stub = stub

    async def start(self, request: executor_pb2.StartRequest) -> None:
        """Start the task.

        Raises:
            RpcError: the executor's refusal, which names the failing step.
            ExecutorLostError: it ended meanwhile.
        """
        with executor_answers("start the task"):
            response = await self._stub.Start(request)
        self.started = CommitRecord(response.workload_pid, response.started_at_s)

    def commit(self) -> None:
        """From here on Nomad owns the run, and the block's end does not end it. Never blocks.

        Raises:
            FileNotFoundError: somebody destroyed the run meanwhile.
        """
        if self.started is None:
            raise ValueError("only a started run can be committed")
        self.run.commit(self.started)
        self.is_committed = True


@asynccontextmanager
async def open_executor(
    spawner: Spawner, state: StateDirectory, request: SpawnRequest
) -> AsyncGenerator[OpenExecutor]:
    """Fork an executor for the length of the block, or for longer if the block commits it.

    Raises:
        SpawnError: no spawner could fork one.
        StuckError: the block was left uncommitted, and processes outlive SIGKILL.

    If cancelled uncommitted, executor and workload are killed and waited for, at most `KILL_LIMIT_S`.
    """
    run = state.run_of(
        task_id=request.task_id, alloc_id=request.alloc_id, task_name=request.task_name
    )
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    async with stream:
        with theirs:
            spawned = await spawner.spawn(request, theirs)
        executor: OpenExecutor | None = None
        try:
            async with open_channel(stream) as channel:
                executor = OpenExecutor(run, spawned, ExecutorStub(channel))
                yield executor
        finally:
            try:
                if executor is None or not executor.is_committed:
                    await _end(state, run, spawned.pidfd)
            finally:
                os.close(spawned.pidfd)


async def _end(state: StateDirectory, run: Run, pidfd: int) -> None:
    """Leave nothing of an uncommitted run."""
    kill_run(run)  # synchronous: nothing can come between
    signal_pidfd(pidfd, signal.SIGKILL)
    # Shield: a caller that was cancelled must not leave processes that die, but are not gone yet, and their files.
    # Ends by: SIGKILL; `destroy_run` gives up after KILL_LIMIT_S by itself.
    with trio.move_on_after(KILL_LIMIT_S + 1, shield=True):
        await trio.lowlevel.wait_readable(pidfd)
        await destroy_run(state, run)


@asynccontextmanager
async def open_executor_stub(run: Run) -> AsyncGenerator[ExecutorStub]:
    """Connect to the executor of a run that lives, for the length of the block.

    Raises:
        ExecutorLostError: nobody listens, or the executor does not answer.
    """
    with executor_answers("answer"):
        async with open_unix_channel(run.socket_path) as channel:
            yield ExecutorStub(channel)
