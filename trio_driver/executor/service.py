"""What a plugin may ask of the executor: one request a connection.

Rules:
- Start answers when the task has started or has failed to; Stop and Signal answer when they are
  under way. How the task ended is never asked here: the exit record tells, and the end of the
  process that it may be read.
- Whatever comes on a connection ends that connection at most.
"""

import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

import trio
from trio_util import wait_any

from trio_driver._proto import executor_pb2
from trio_driver.executor.driver_loss import DriverLoss
from trio_driver.executor.exec_session import serve_session
from trio_driver.executor.frames import FrameError, receive_message, send_message
from trio_driver.executor.stats import sample_processes
from trio_driver.executor.stop import Stopper
from trio_driver.executor.task_run import TaskBody, TaskRun
from trio_driver.model import DriverError

LOGGER = logging.getLogger("trio_driver.executor")


class NotStartedError(DriverError):
    """The executor has not been asked to start its task yet, or was asked twice."""


class ExecutorService:
    """Serves one run."""

    def __init__(
        self,
        body: TaskBody,
        nursery: trio.Nursery,
        make_task_run: Callable[[executor_pb2.StartRequest], TaskRun],
    ) -> None:
        self.task_run: TaskRun | None = None
        self.start_requested = trio.Event()
        self.listening = trio.Event()
        """Set when others can reach the executor: no start is told before."""
        self._body = body
        self._nursery = nursery
        self._make_task_run = make_task_run
        self._stopper: Stopper | None = None
        self._driver_loss = DriverLoss()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer the request that comes on `stream`."""
        try:
            request = await receive_message(stream, executor_pb2.Request)
            if request is not None:
                await self._answer(request, stream)
        except FrameError as error:
            LOGGER.warning("a connection is closed: %s", error)
        except trio.BrokenResourceError:
            LOGGER.debug("who asked went away")
        except Exception:
            # A bug, or a host without room: it must not end the task.
            LOGGER.exception("a connection is closed: the request failed")

    async def _answer(self, request: executor_pb2.Request, stream: trio.SocketStream) -> None:
        try:
            if request.WhichOneof("kind") == "stats":
                await self._stats(request.stats, stream)
                return
            if request.WhichOneof("kind") == "exec":
                await serve_session(self._running(), request.exec, stream)
                return
            if request.WhichOneof("kind") == "attach":
                await self._attach(stream)
                return
            answer = await self._answer_once(request, stream)
        except DriverError as error:
            refused = executor_pb2.Refused(message=str(error), recoverable=error.recoverable)
            answer = executor_pb2.Answer(refused=refused)
        await send_message(stream, answer)

    async def _answer_once(
        self, request: executor_pb2.Request, stream: trio.SocketStream
    ) -> executor_pb2.Answer:
        match request.WhichOneof("kind"):
            case "start":
                return await self._start(request.start, stream)
            case "stop":
                return self._stop(request.stop)
            case "signal":
                self._body.signal(self._running(), request.signal.signum)
                return executor_pb2.Answer(done=executor_pb2.Done())
            case _:
                raise FrameError("a request of a later version")

    async def _start(
        self, request: executor_pb2.StartRequest, stream: trio.SocketStream
    ) -> executor_pb2.Answer:
        if self.task_run is not None:
            raise NotStartedError("this executor has started its task already")
        self.task_run = task_run = self._make_task_run(request)
        self._stopper = Stopper(task_run, self._body, self._nursery)
        self._nursery.start_soon(self._driver_loss.watch, task_run, self._stopper.stop)
        self.start_requested.set()
        # Nothing more comes on this connection but its end: a plugin that went away is not told anything.
        gone = partial(trio.lowlevel.wait_readable, stream.socket)
        await wait_any(task_run.started.wait, task_run.ended.wait, gone)
        if task_run.start_error is not None:
            raise task_run.start_error
        if not task_run.started.is_set():
            raise FrameError("it ended before the task had started")
        await self.listening.wait()
        return executor_pb2.Answer(
            started=executor_pb2.Started(
                workload_pid=task_run.main.pid if task_run.main else 0,
                started_at_s=task_run.started_at_s or time.time(),
            )
        )

    def _stop(self, request: executor_pb2.StopRequest) -> executor_pb2.Answer:
        self._running()
        assert self._stopper is not None, "a run has its stopper"
        self._stopper.stop(signum=request.signum, grace_s=request.grace_s)
        return executor_pb2.Answer(done=executor_pb2.Done())

    async def _attach(self, stream: trio.SocketStream) -> None:
        """A plugin looks after the task until it closes the connection."""
        self._running()
        with self._driver_loss.attached():
            await send_message(stream, executor_pb2.Answer(done=executor_pb2.Done()))
            await stream.receive_some(1)

    async def _stats(self, request: executor_pb2.StatsRequest, stream: trio.SocketStream) -> None:
        samples = sample_processes(self._running(), interval_s=request.interval_s)
        async with aclosing(samples):
            async for stats in samples:
                await send_message(stream, executor_pb2.Answer(stats=stats))

    def _running(self) -> TaskRun:
        if self.task_run is None:
            raise NotStartedError("this executor has not started its task yet")
        return self.task_run
